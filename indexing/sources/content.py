"""Content: the items whose words are most like those of the user's last items, whether anybody has touched them or not.

Words are weighted by how rare they are (TF-IDF; Sparck Jones, 1972) and compared by cosine. No event is looked at.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from indexing import text_kernels
from indexing.histories import Int32s, Int64s, Interactions
from indexing.neighbours import Neighbours
from indexing.source import Contents, Source

NEIGHBOURS = 30  # of each item
BUDGET = 4_000  # items looked at for each item, by its rarest words first
COMMON_SHARE, COMMON_MOST, COMMON_LEAST = 0.25, 2_000, 200  # a word in more items than this finds nobody
LAST_WEIGHTS = tuple(0.8**place for place in range(8))  # of the user's last different items, newest first


class Content(Neighbours):
    """The most alike of N items in CSR form, best first: `starts` (N + 1,), `rows` (P,), `scores` (P,) squared cosines.

    Squared, because one item that is much like one of the history says more than many that are a little like all.
    """

    last_weights = LAST_WEIGHTS

    @classmethod
    def build(
        cls,
        interactions: Interactions,  # noqa: ARG003  # every source is built alike
        item_count: int,
        contents: Contents | None = None,
        *,
        most: int = NEIGHBOURS,
        budget: int = BUDGET,
    ) -> Content:
        """Compares all items that share a word which is not too common.

        The latest result is kept: most refreshes find the catalogue as it was.
        """
        if contents is None or len(contents.tokens) == 0:
            return cls.empty(item_count)
        tokens, starts = np.asarray(contents.tokens, np.int32), np.asarray(contents.starts, np.int64)
        return _alike(tokens.tobytes(), starts.tobytes(), most, budget)


@lru_cache(maxsize=2)  # the second: a small one, which compiling kernels asks for
def _alike(token_bytes: bytes, start_bytes: bytes, most: int, budget: int) -> Content:
    contents = Contents(np.frombuffer(token_bytes, np.int32), np.frombuffer(start_bytes, np.int64))
    count = len(contents.starts) - 1
    words, item_starts = _distinct(contents, count)
    standing_in = np.bincount(words)
    weights = np.log((1 + count) / (1 + standing_in)) + 1
    owners = np.repeat(np.arange(count), np.diff(item_starts))
    norms = np.sqrt(np.bincount(owners, (weights * weights)[words], count))
    kept = standing_in <= min(max(COMMON_LEAST, COMMON_SHARE * count), COMMON_MOST)
    words = words[np.lexsort((words, standing_in[words], owners))]  # each item's rarest first
    by_word = np.argsort(words, kind="stable")
    by_word = by_word[kept[words[by_word]]]
    counts, rows = np.zeros(count, np.int64), np.full((count, most), -1, np.int32)
    scores = np.zeros((count, most), np.float32)
    text_kernels.alike(
        item_starts,
        words,
        np.concatenate(([0], np.cumsum(np.where(kept, standing_in, 0)))),
        owners[by_word].astype(np.int32),
        (weights * weights).astype(np.float32),
        norms.astype(np.float32),
        budget,
        most,
        counts,
        rows,
        scores,
    )
    filled = rows >= 0
    return Content(np.concatenate(([0], np.cumsum(counts))), rows[filled], scores[filled])


def _distinct(contents: Contents, item_count: int) -> tuple[Int32s, Int64s]:
    """Each item's words, each once: numbers 0.. and where each item's begin (N + 1,)."""
    _, numbers = np.unique(contents.tokens, return_inverse=True)
    size = int(numbers.max()) + 1
    owners = np.repeat(np.arange(item_count), np.diff(contents.starts))
    pairs = np.unique(owners * size + numbers)
    starts = np.searchsorted(pairs, np.arange(item_count + 1) * size)
    return (pairs % size).astype(np.int32), starts.astype(np.int64)


SOURCE: type[Source] = Content
