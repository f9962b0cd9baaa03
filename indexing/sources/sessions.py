"""Session neighbours: what stood near the user's last items in the sessions most like the user's.

STAN (Garg et al., SIGIR 2019) in the bounded form of VMIS-kNN (Kersbergen et al., SIGMOD 2022): the user's last items,
only the most recent sessions of each, the best matching of these, and only places near the common item.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from indexing import source_kernels
from indexing.arrays import check_lists, check_rows, empty_lists, frozen, taken
from indexing.grouping import grouped
from indexing.histories import Floats, HistoryBatch, Int32s, Int64s, Interactions
from indexing.source import Contents, Source
from indexing.weights import distance_weights, session_recency, table_size

SESSIONS_PER_ITEM, NEIGHBOURS = 128, 64  # twice as many take twice as long and make no list better
WINDOW = 5
FORWARD, BACKWARD, FADE = 1.0, 0.6, 0.8
HALF_LIFE_MS = 14 * 86_400_000
LAST_WEIGHTS = (1.0, 0.4, 0.16, 0.064)  # of the user's last different items, newest first
_LAST_WEIGHTS = np.array(LAST_WEIGHTS, np.float32)
_DISTANCE_WEIGHTS = distance_weights(WINDOW, FORWARD, BACKWARD, FADE)
_DTYPES = {
    "session_starts": np.int64,
    "session_items": np.int32,
    "session_weights": np.float32,
    "item_starts": np.int64,
    "item_sessions": np.int32,
    "item_positions": np.uint8,
}


@dataclass(frozen=True)
class SessionNeighbours:
    """Sessions, newest first, and the sessions of each item, newest first, both in CSR form.

    `session_starts` (S + 1,), `session_items` (P,), `session_weights` (S,) recency / sqrt(length); `item_starts`
    (N + 1,), `item_sessions` (Q,) and `item_positions` (Q,), the item's last place in that session.
    """

    session_starts: Int64s
    session_items: Int32s
    session_weights: Floats
    item_starts: Int64s
    item_sessions: Int32s
    item_positions: np.ndarray

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            object.__setattr__(self, name, frozen(getattr(self, name), dtype))

    @classmethod
    def build(
        cls,
        interactions: Interactions,
        item_count: int,
        contents: Contents | None = None,  # noqa: ARG003  # every source is built alike
        *,
        sessions_per_item: int = SESSIONS_PER_ITEM,
    ) -> SessionNeighbours:
        """Indexes all sessions of two or more entries; of each item the newest `sessions_per_item` sessions."""
        lists = interactions.by_session
        lengths = np.diff(lists.starts)
        long_enough = np.repeat(lengths > 1, lengths)
        order = grouped(lists.items[long_enough], item_count)
        items = lists.items[long_enough][order]
        sessions = lists.numbers()[long_enough][order]
        positions = lists.positions()[long_enough][order]
        last_place = np.ones(len(items), np.bool_)
        last_place[:-1] = (items[1:] != items[:-1]) | (sessions[1:] != sessions[:-1])
        items, sessions, positions = items[last_place], sessions[last_place], positions[last_place]
        counts = np.bincount(items, minlength=item_count)
        ranks = np.arange(len(items)) - (np.cumsum(counts) - counts)[items]
        kept = ranks < sessions_per_item
        return cls(
            lists.starts,
            lists.items,
            np.asarray(session_recency(lists.ends, HALF_LIFE_MS) / np.sqrt(np.maximum(lengths, 1)), np.float32),
            np.concatenate(([0], np.cumsum(np.minimum(counts, sessions_per_item), dtype=np.int64))),
            sessions[kept],
            positions[kept].astype(np.uint8),
        )

    def candidates(self, batch: HistoryBatch, k: int) -> tuple[Int32s, Floats]:
        """The k items found in the sessions most like each user's: rows (B, k) with -1 padding, scores (B, k)."""
        rows, scores = empty_lists(len(batch), k)
        source_kernels.session_neighbours(
            (batch.rows, batch.starts),
            (self.session_starts, self.session_items),
            (self.item_starts, self.item_sessions, self.item_positions, self._item_weights),
            _LAST_WEIGHTS,
            _DISTANCE_WEIGHTS,
            NEIGHBOURS,
            self._table_size,
            (rows, scores),
        )
        return rows, scores

    @cached_property
    def _table_size(self) -> int:
        per_item = int(np.diff(self.item_starts).max(initial=0))
        return table_size(max(per_item * len(LAST_WEIGHTS), NEIGHBOURS * (2 * WINDOW + 1)))

    @cached_property
    def _item_weights(self) -> np.ndarray:
        """The weight of each of the items' sessions, (Q,): that of the session, and the more the rarer the item.

        Two sessions that share an item of few sessions are more alike than two that share one of everybody's.
        """
        sessions = np.diff(self.item_starts)
        rarity = 1.0 / np.sqrt(np.maximum(sessions, 1))
        return frozen(self.session_weights[self.item_sessions] * np.repeat(rarity, sessions), np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        return {name: getattr(self, name) for name in _DTYPES}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], item_count: int) -> SessionNeighbours:
        """The source that `arrays()` came from. Raises ValueError where they do not fit together."""
        parts = taken(arrays, _DTYPES)
        sessions = len(parts["session_weights"])
        check_lists("session_starts", parts["session_starts"], sessions, len(parts["session_items"]))
        check_lists("item_starts", parts["item_starts"], item_count, len(parts["item_sessions"]))
        check_rows("session_items", parts["session_items"], item_count)
        check_rows("item_sessions", parts["item_sessions"], sessions)
        if len(parts["item_positions"]) != len(parts["item_sessions"]):
            raise ValueError(f"{len(parts['item_positions'])} positions for {len(parts['item_sessions'])} sessions")
        return cls(**parts)


SOURCE: type[Source] = SessionNeighbours
