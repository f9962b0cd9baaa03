"""Co-visitation: what stands near an item in sessions, the newer the session and the nearer the place, the more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from indexing import kernels
from indexing.arrays import frozen
from indexing.histories import Floats, HistoryBatch, Int32s, Int64s, Interactions, session_lists

WINDOW = 8  # places before and after
FORWARD, BACKWARD, FADE = 1.0, 0.6, 0.6  # weight of the next place, of the one before, and of each further one
HALF_LIFE_MS = 7 * 86_400_000
LAST_WEIGHTS = tuple(0.4**place for place in range(8))  # of the user's last different items, newest first
_LAST_WEIGHTS = np.array(LAST_WEIGHTS, np.float32)


def distance_weights(window: int, forward: float, backward: float, fade: float) -> Floats:
    """Weights of the places -window..window around a place, 0 for the place itself.

    >>> distance_weights(2, 1.0, 0.5, 0.5).tolist()
    [0.25, 0.5, 0.0, 1.0, 0.5]
    """
    fading = fade ** np.arange(window)
    return np.concatenate((backward * fading[::-1], [0.0], forward * fading)).astype(np.float32)


def session_recency(ends: Int64s, half_life_ms: float) -> Floats:
    """Weights of sessions by their age against the newest one, (S,)."""
    newest = ends.max(initial=0)
    return np.asarray(np.exp2((ends - newest) / half_life_ms), np.float32)


@dataclass(frozen=True)
class Covisitation:
    """Neighbours of N items in CSR form, best first: `starts` (N + 1,), `rows` (P,), `scores` (P,).

    An item's scores are divided by the square root of their sum: between raw counts, in which well-known items of the
    history drown the rest, and shares, in which items seen once speak as loudly as the others.
    """

    starts: Int64s
    rows: Int32s
    scores: Floats

    def __post_init__(self) -> None:
        for name, dtype in (("starts", np.int64), ("rows", np.int32), ("scores", np.float32)):
            object.__setattr__(self, name, frozen(getattr(self, name), dtype))

    @classmethod
    def build(cls, interactions: Interactions, item_count: int, *, most: int = 100) -> Covisitation:
        """Sums up neighbourhoods over all sessions and keeps the `most` best of each item."""
        lists = session_lists(interactions)
        rows = np.full((item_count, most), -1, np.int32)
        scores = np.zeros((item_count, most), np.float32)
        counts = np.zeros(item_count, np.int64)
        kernels.count_neighbours(
            lists.starts,
            lists.items,
            session_recency(lists.ends, HALF_LIFE_MS),
            lists.numbers(),
            np.argsort(lists.items, kind="stable"),
            np.concatenate(([0], np.cumsum(np.bincount(lists.items, minlength=item_count), dtype=np.int64))),
            distance_weights(WINDOW, FORWARD, BACKWARD, FADE),
            most,
            counts,
            rows,
            scores,
        )
        scores /= np.sqrt(np.maximum(scores.sum(axis=1, keepdims=True), np.float32(1e-9)))
        filled = rows >= 0
        return cls(np.concatenate(([0], np.cumsum(counts))), rows[filled], scores[filled])

    def candidates(self, batch: HistoryBatch, k: int) -> tuple[Int32s, Floats]:
        """The k items that go best with each user's last items: rows (B, k) with -1 padding, scores (B, k)."""
        rows, scores = np.full((len(batch), k), -1, np.int32), np.zeros((len(batch), k), np.float32)
        kernels.covisited(
            batch.rows,
            batch.starts,
            self.starts,
            self.rows,
            self.scores,
            _LAST_WEIGHTS,
            self._table_size,
            rows,
            scores,
        )
        return rows, scores

    @cached_property
    def _table_size(self) -> int:
        return table_size(int(np.diff(self.starts).max(initial=0)) * len(LAST_WEIGHTS))

    def neighbours(self, row: int) -> tuple[Int32s, Floats]:
        """The neighbours of one item, best first, and their scores."""
        start, end = self.starts[row], self.starts[row + 1]
        return self.rows[start:end], self.scores[start:end]

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        return {"starts": self.starts, "rows": self.rows, "scores": self.scores}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Covisitation:
        """The source that `arrays()` came from."""
        return cls(arrays["starts"], arrays["rows"], arrays["scores"])


def table_size(most: int) -> int:
    """A power of two, at least twice the most keys that a table must hold.

    >>> table_size(700), table_size(0)
    (2048, 64)
    """
    size = 64
    while size < 2 * most:
        size *= 2
    return size
