"""What is popular now, at three time scales of event time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from indexing.grouping import reduced
from indexing.histories import Floats, HistoryBatch, Int32s, Int64s, Interactions

HALF_LIVES_MS = (3_600_000, 86_400_000, 604_800_000)  # an hour, a day, a week
NEVER = np.iinfo(np.int64).max
_DAY = 1


@dataclass(frozen=True)
class Trending:
    """Exponentially decayed counts of N items, as of one moment of event time.

    `counts` (N, 3) by half-life; `order` (N,) rows from the most popular on (a day's half-life, ties by a week's, then
    by row); `first_seen` (N,) epoch milliseconds of the first event, `NEVER` where there was none.
    """

    counts: Floats
    order: Int32s
    first_seen: Int64s

    @classmethod
    def build(cls, interactions: Interactions, item_count: int, as_of: int) -> Trending:
        """Counts interactions, each decayed by its age at `as_of` (epoch milliseconds)."""
        ages = np.maximum(as_of - interactions.times, 0)
        counts = np.stack(
            [
                np.bincount(interactions.items, np.exp2(-ages / half_life), minlength=item_count)
                for half_life in HALF_LIVES_MS
            ],
            axis=1,
        ).astype(np.float32)
        first_seen = reduced(np.minimum, interactions.times, interactions.items, item_count, NEVER)
        order = np.lexsort((np.arange(item_count), -counts[:, _DAY + 1], -counts[:, _DAY])).astype(np.int32)
        return cls(counts, order, first_seen)

    def top(self, k: int) -> Int32s:
        """At most k rows: the best of each scale in turn, without items that nobody has touched."""
        best = [np.argsort(-self.counts[:, scale], kind="stable")[:k] for scale in range(self.counts.shape[1])]
        turns = np.stack(best, axis=1).ravel()
        touched = dict.fromkeys(int(row) for row in turns if self.counts[row].any())
        return np.array(list(touched)[:k], np.int32)

    def popularity(self) -> Floats:
        """log(1 + counts), (N, 3)."""
        return np.log1p(self.counts)

    def candidates(self, batch: HistoryBatch, k: int) -> tuple[Int32s, Floats]:
        """The same k rows for every user, (B, k) with -1 padding, and their day's counts."""
        top = self.top(k)
        rows = np.full((len(batch), k), -1, np.int32)
        scores = np.zeros((len(batch), k), np.float32)
        rows[:, : len(top)] = top
        scores[:, : len(top)] = self.counts[top, _DAY]
        return rows, scores

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        return {"counts": self.counts, "order": self.order, "first_seen": self.first_seen}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Trending:
        """The source that `arrays()` came from."""
        return cls(arrays["counts"], arrays["order"], arrays["first_seen"])
