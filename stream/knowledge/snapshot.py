"""One version of all that is known, in memory: vocabulary, encoder, item vectors, indexes and ranker, made together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from indexing import kernels
from indexing.arrays import frozen
from indexing.candidates import Candidates, Found, ItemFacts, kinds_of, merged, union
from indexing.covisitation import Covisitation
from indexing.histories import Floats, HistoryBatch, Int32s, Int64s
from indexing.sessions import SessionNeighbours
from indexing.trending import Trending
from indexing.union import NEGATIVE, NEW
from indexing.vectors import VectorIndex, nearest_new
from models.encoder import HistoryEncoder
from models.ranker import Ranker
from models.tower import ItemTower
from models.vocabulary import UNKNOWN, Vocabulary

PER_SOURCE = 60
TRENDING = 20
LONGEST_HISTORY = 50  # the newest interactions that a list is made from

Bools = npt.NDArray[np.bool_]


class Asked(Protocol):
    """What a history is read from: items, event types and times, oldest first, and the time asked at (epoch ms)."""

    @property
    def items(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def types(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def times(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def now(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Fresh:
    """Items newer than the snapshot, as rows behind its own: what retrieval needs to treat them alike.

    `vectors` (N + E, D): the snapshot's and, behind them, those of the newer items; `encoder` over these vectors;
    `available` (N + E,): rows that may be candidates; `keys` (N + E,): the order of rows whose scores are equal, the
    row itself for the snapshot's own, and for newer ones nothing that depends on when they came.
    """

    vectors: Floats
    encoder: HistoryEncoder
    available: Bools
    keys: Int64s


@dataclass(frozen=True)
class Ranking:
    """Lists of B users: `positions` (B, K) in the candidates, best first, -1 behind the last; `scores` (M,)."""

    candidates: Candidates
    scores: Floats
    positions: npt.NDArray[np.int64]

    def rows(self) -> Int32s:
        """Item rows of the lists, (B, K), -1 behind the last."""
        if len(self.candidates.rows) == 0:
            return np.full(self.positions.shape, UNKNOWN, np.int32)
        return np.where(self.positions >= 0, self.candidates.rows[self.positions], UNKNOWN).astype(np.int32)


@dataclass(frozen=True)
class Snapshot:
    """All parts of one artifact; immutable. `item_vectors` (N, D) normalised, `counts` (N,) events of each item,
    `event_types` canonical names whose positions are the codes.
    """

    artifact_id: str
    parent: str | None
    seed: int
    vocabulary: Vocabulary
    item_vectors: Floats
    counts: Floats
    encoder: HistoryEncoder
    tower: ItemTower
    vectors: VectorIndex
    sessions: SessionNeighbours
    covisitation: Covisitation
    trending: Trending
    ranker: Ranker
    event_types: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.vocabulary)

    @cached_property
    def type_codes(self) -> dict[str, int]:
        """The code of each event type."""
        return {name: code for code, name in enumerate(self.event_types)}

    @cached_property
    def kinds(self) -> npt.NDArray[np.uint8]:
        """What each event type means to the features."""
        return kinds_of(self.event_types)

    @cached_property
    def popularity(self) -> Floats:
        """log(1 + decayed counts), (N, 3)."""
        return self.trending.popularity()

    @cached_property
    def _facts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        first_seen = frozen(self.trending.first_seen, np.int64)
        return frozen(self.popularity, np.float32), frozen(self.counts, np.float32), first_seen

    @cached_property
    def trending_top(self) -> Int32s:
        """The trending candidates, the same for everybody."""
        return self.trending.top(TRENDING)

    @cached_property
    def plain(self) -> Fresh:
        """Nothing newer than this snapshot, everything available."""
        return Fresh(self.item_vectors, self.encoder, np.ones(len(self), np.bool_), np.arange(len(self)))

    def histories(self, queries: Sequence[Asked]) -> HistoryBatch:
        """The newest interactions of each query as flat arrays. Event types without a code count as the first one."""
        rows, codes = self.vocabulary.rows.get, self.type_codes.get
        kept = [query.items[-LONGEST_HISTORY:] for query in queries]
        starts = np.cumsum([0, *map(len, kept)], dtype=np.int64)
        return HistoryBatch(
            np.array([rows(item, UNKNOWN) for items in kept for item in items], np.int32),
            np.array([codes(name, 0) for query in queries for name in query.types[-LONGEST_HISTORY:]], np.int8),
            np.array([time for query in queries for time in query.times[-LONGEST_HISTORY:]], np.int64),
            starts,
            np.array([query.now for query in queries], np.int64),
        )

    def candidates(self, batch: HistoryBatch, fresh: Fresh | None = None) -> Candidates:
        """The union of all sources for each user, with the ranker's features."""
        fresh = fresh or self.plain
        users = fresh.encoder.encode(batch.rows, batch.types, batch.times, batch.starts, batch.now)
        asking = self._without_rejected(batch)
        ann = Found(*self.vectors.search(users, PER_SOURCE))
        new = Found.nothing(len(batch))
        if len(fresh.vectors) > len(self):
            new = Found(
                *nearest_new(
                    users, fresh.vectors, first=len(self), available=fresh.available, keys=fresh.keys, k=TRENDING
                )
            )
            ann = merged(ann, new, PER_SOURCE, fresh.keys)
        return union(
            batch,
            self.kinds,
            users,
            sessions=Found(*self.sessions.candidates(asking, PER_SOURCE)),
            covisitation=Found(*self.covisitation.candidates(asking, PER_SOURCE)),
            ann=ann,
            new=new,
            trending=self.trending_top,
            facts=ItemFacts(fresh.vectors, *self._facts),
            available=fresh.available,
        )

    def rank(
        self,
        batch: HistoryBatch,
        allowed: Sequence[Bools | None] | None = None,
        counts: int | Sequence[int] = 20,
        *,
        fresh: Fresh | None = None,
        new_slots: int = 0,
    ) -> Ranking:
        """The best of each user's candidates: `best` of `candidates`."""
        fresh = fresh or self.plain
        return self.best(self.candidates(batch, fresh), allowed, counts, fresh=fresh, new_slots=new_slots)

    def best(
        self,
        candidates: Candidates,
        allowed: Sequence[Bools | None] | None,
        counts: int | Sequence[int],
        *,
        fresh: Fresh,
        new_slots: int,
    ) -> Ranking:
        """Candidates, scored by the ranker, and the best of each list.

        `allowed`: for each user the rows that the list may hold, None for all available ones; `counts`: how many to
        list; `new_slots`: places of a list of ten or more kept for items newer than the snapshot and near the user's
        taste.
        """
        users = len(candidates.starts) - 1
        scores = self.ranker.score(candidates.features)
        for user, mask in enumerate(allowed or ()):
            if mask is not None:
                part = slice(candidates.starts[user], candidates.starts[user + 1])
                scores[part][~mask[candidates.rows[part]]] = -np.inf
        lengths = np.empty(users, np.int64)
        lengths[:] = counts
        positions = np.full((users, int(lengths.max(initial=0))), UNKNOWN, np.int64)
        kernels.best_of_lists(
            fresh.keys[candidates.rows],
            scores,
            candidates.starts,
            lengths,
            (candidates.sources & NEW) > 0,
            new_slots,
            positions,
        )
        return Ranking(candidates, scores, positions)

    def _without_rejected(self, batch: HistoryBatch) -> HistoryBatch:
        """The batch with removed and disliked items as unknown: nothing should follow from them."""
        rejected = (self.kinds == NEGATIVE)[batch.types]
        if not rejected.any():
            return batch
        return HistoryBatch(
            np.where(rejected, np.int32(UNKNOWN), batch.rows), batch.types, batch.times, batch.starts, batch.now
        )
