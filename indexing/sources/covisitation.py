"""Co-visitation: what stands near an item in sessions, the newer the session and the nearer the place, the more."""

from __future__ import annotations

import numpy as np

from indexing import kernels
from indexing.grouping import grouped
from indexing.histories import Interactions
from indexing.neighbours import Neighbours
from indexing.source import Contents, Source
from indexing.weights import distance_weights, session_recency

WINDOW = 8  # places before and after
FORWARD, BACKWARD, FADE = 1.0, 0.6, 0.6  # weight of the next place, of the one before, and of each further one
HALF_LIFE_MS = 30 * 86_400_000
LAST_WEIGHTS = tuple(0.4**place for place in range(8))  # of the user's last different items, newest first


class Covisitation(Neighbours):
    """Neighbours of N items in CSR form, best first: `starts` (N + 1,), `rows` (P,), `scores` (P,).

    An item's scores are divided by the square root of their sum: between raw counts, in which well-known items of the
    history drown the rest, and shares, in which items seen once speak as loudly as the others.
    """

    last_weights = LAST_WEIGHTS

    @classmethod
    def build(
        cls,
        interactions: Interactions,
        item_count: int,
        contents: Contents | None = None,  # noqa: ARG003  # every source is built alike
        *,
        most: int = 100,
    ) -> Covisitation:
        """Sums up neighbourhoods over all sessions and keeps the `most` best of each item."""
        lists = interactions.by_session
        rows = np.full((item_count, most), -1, np.int32)
        scores = np.zeros((item_count, most), np.float32)
        counts = np.zeros(item_count, np.int64)
        kernels.count_neighbours(
            lists.starts,
            lists.items,
            session_recency(lists.ends, HALF_LIFE_MS),
            lists.numbers(),
            grouped(lists.items, item_count),
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


SOURCE: type[Source] = Covisitation
