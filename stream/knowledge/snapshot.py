"""One version of all that is known, in memory: vocabulary, encoder, item vectors, indexes and ranker, made together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, chain, repeat
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from indexing.arrays import frozen
from indexing.candidates import (
    Candidates,
    Found,
    Room,
    feature_names,
    kinds_of,
    merged,
    source_bit,
    union,
)
from indexing.columns import NEGATIVE
from indexing.habits import Habits
from indexing.histories import Floats, HistoryBatch, Int32s, Int64s
from indexing.item_facts import ItemFacts
from indexing.lists import explorable
from indexing.owned import to_buy_again
from indexing.source import Source
from indexing.sources.covisitation import Covisitation
from indexing.trending import NEVER, Trending
from indexing.vectors import VectorIndex, nearest_of
from indexing.wanted import Wanted
from models.encoder import HistoryEncoder
from models.ranker import Ranker
from models.tower import ItemTower
from models.vocabulary import UNKNOWN, Vocabulary
from stream.knowledge.choosing import Explorable, Ranking, choose
from stream.knowledge.lots import lot
from stream.knowledge.repurchase import RARE

PER_SOURCE = 40  # candidates; half as many again cost a third more and make no list better
TRENDING = 20
UNTOUCHED = 20  # of the new and the untouched items
MOST_UNTOUCHED = 512  # of the artifact's items, passed over for each list: some ten microseconds
LONGEST_HISTORY = 50  # the newest interactions that a list is made from

Bools = npt.NDArray[np.bool_]


class Asked(Protocol):
    """What a history is read from: items, event types and times, oldest first; the time asked at (epoch ms), and the
    event type that is asked for; the different items ever bought, the latest last.
    """

    @property
    def items(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def types(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def times(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def now(self) -> int: ...  # noqa: D102
    @property
    def intent(self) -> str | None: ...  # noqa: D102
    @property
    def purchased(self) -> Sequence[str]: ...  # noqa: D102


@dataclass(frozen=True)
class Fresh:
    """Items newer than the snapshot, as rows behind its own: what retrieval needs to treat them alike.

    `vectors` (N + E, D): the snapshot's and, behind them, those of the newer items; `encoder` over these vectors;
    `available` (N + E,): rows that may be candidates; `keys` (N + E,): the order of rows whose scores are equal, the
    row itself for the snapshot's own, and for newer ones nothing that depends on when they came; `untouched`: the rows
    among which the nearest are looked for besides, being new or untouched.
    """

    vectors: Floats
    encoder: HistoryEncoder
    available: Bools
    keys: Int64s
    untouched: Int64s


@dataclass(frozen=True)
class Snapshot:
    """All parts of one artifact; immutable. `item_vectors` (N, D) normalised, `counts` (N,) events of each item,
    `memories` candidate sources by name, in the order of their features, `event_types` canonical names whose positions
    are the codes, `unwanted` those that say that an item is not wanted, `wanted` what items are wanted for,
    `repurchase` (N,) how often what was bought is bought again (`stream.knowledge.repurchase`).
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
    memories: Mapping[str, Source]
    trending: Trending
    wanted: Wanted
    ranker: Ranker
    event_types: tuple[str, ...]
    unwanted: tuple[str, ...]
    repurchase: Floats
    habits: Habits

    def __len__(self) -> int:
        return len(self.vocabulary)

    @cached_property
    def covisitation(self) -> Covisitation:
        """What is visited together; without any neighbours where that is none of the sources."""
        return cast(Covisitation, self.memories.get("covisitation", Covisitation.empty(len(self))))

    def bit(self, source: str) -> int:
        """The bit of a source in candidates, 0 where it is none."""
        return source_bit(source, list(self.memories)) if source in self.memories else 0

    @cached_property
    def type_codes(self) -> dict[str, int]:
        """The code of each event type."""
        return {name: code for code, name in enumerate(self.event_types)}

    def intent_code(self, name: str | None) -> int:
        """The code of the event type to ask for: the named one where training had it as a target, else the first that
        training had. What was never learned of cannot be asked for.
        """
        asked_for = self.encoder.asked_for
        code = self.type_codes.get(name or "", 0)
        return code if asked_for[code] or not asked_for.any() else int(asked_for.argmax())

    @cached_property
    def _intents(self) -> dict[str | None, int]:
        """`intent_code` of all names that it knows, and of None, which that of any other name is."""
        return {name: self.intent_code(name) for name in (None, *self.event_types)}

    @cached_property
    def kinds(self) -> npt.NDArray[np.uint8]:
        """What each event type means to the features."""
        return kinds_of(self.event_types, self.unwanted)

    @cached_property
    def popularity(self) -> Floats:
        """log(1 + decayed counts), (N, 3)."""
        return self.trending.popularity()

    @cached_property
    def facts(self) -> ItemFacts:
        """What the ranker reads of items."""
        first_seen = self.trending.first_seen
        return ItemFacts(
            self.popularity, self.counts, first_seen, self.wanted.facts, self.covisitation, self.habits.facts
        )

    @cached_property
    def trending_top(self) -> Int32s:
        """The trending candidates, the same for everybody."""
        return frozen(self.trending.top(TRENDING), np.int32)

    @cached_property
    def plain(self) -> Fresh:
        """Nothing newer than this snapshot, everything available."""
        everything = np.ones(len(self), np.bool_)
        return Fresh(self.item_vectors, self.encoder, everything, np.arange(len(self)), self.untouched)

    @cached_property
    def cold(self) -> Bools:
        """Which items nobody has touched yet, (N,): neither learned of nor remembered."""
        return np.asarray((self.counts == 0) & (self.trending.first_seen == NEVER))

    @cached_property
    def bought_again(self) -> Bools:
        """Items of categories in which repeated purchases are not rare, (N,)."""
        return np.asarray(self.repurchase >= RARE)

    @cached_property
    def untouched(self) -> Int64s:
        """Rows of cold items, as many as can be passed over for each list: another sample in each artifact.

        Without those whose vectors are zero, as where nothing is known of an item: these are near nobody.
        """
        rows = np.flatnonzero(self.cold)
        if len(rows) > MOST_UNTOUCHED:
            rng = np.random.default_rng([self.seed, lot(self.artifact_id)])
            rows = np.sort(rng.choice(rows, MOST_UNTOUCHED, replace=False))
        return rows[self.item_vectors[rows].any(axis=1)]

    def histories(self, queries: Sequence[Asked]) -> HistoryBatch:
        """The newest interactions of each query as flat arrays. Event types without a code count as the first one."""
        rows, codes = self.vocabulary.rows.get, self.type_codes.get
        items = [query.items[-LONGEST_HISTORY:] for query in queries]
        types = chain.from_iterable([query.types[-LONGEST_HISTORY:] for query in queries])
        times = chain.from_iterable([query.times[-LONGEST_HISTORY:] for query in queries])
        intents = self._intents
        bought = [query.purchased for query in queries]
        owned: list[int] = []
        owned_starts = np.zeros(len(queries) + 1, np.int64)
        if any(bought):
            owned = [*map(rows, chain.from_iterable(bought), repeat(UNKNOWN))]
            owned_starts[1:] = [*accumulate(map(len, bought))]
        return HistoryBatch(
            np.array([*map(rows, chain.from_iterable(items), repeat(UNKNOWN))], np.int32),
            np.array([*map(codes, types, repeat(0))], np.int8),
            np.array([*times], np.int64),
            np.array([0, *accumulate(map(len, items))], np.int64),
            np.array([query.now for query in queries], np.int64),
            np.array([intents.get(query.intent, intents[None]) for query in queries], np.int8),
            np.array(owned, np.int32),
            owned_starts,
        )

    def candidates(self, batch: HistoryBatch, fresh: Fresh | None = None, room: Room | None = None) -> Candidates:
        """The union of all sources for each user, with the ranker's features; in a `room`, until it is used again."""
        fresh, count = fresh or self.plain, len(self)
        users = fresh.encoder.encode(batch.rows, batch.types, batch.times, batch.starts, batch.intents)
        asking = self._without_rejected(batch)
        ann = Found(*self.vectors.search(users, PER_SOURCE))
        new = Found.nothing(len(batch))
        if len(fresh.untouched):
            rows, scores = nearest_of(
                users, fresh.vectors, fresh.untouched, available=fresh.available, keys=fresh.keys, k=UNTOUCHED
            )
            new = Found(rows, scores)
            if len(fresh.vectors) > count:  # the index has the others
                newer = Found(np.where(rows < count, np.int32(UNKNOWN), rows), scores)
                ann = merged(ann, newer, PER_SOURCE, fresh.keys)
        return union(
            batch,
            self.kinds,
            users,
            memories=[Found(*memory.candidates(asking, PER_SOURCE)) for memory in self.memories.values()],
            ann=ann,
            new=new,
            again=to_buy_again(batch, self.bought_again),
            trending=self.trending_top,
            vectors=fresh.vectors,
            facts=self.facts,
            available=fresh.available,
            room=room,
        )

    def rank(
        self, batch: HistoryBatch, counts: int | Sequence[int] = 20, *, fresh: Fresh | None = None, new_slots: int = 0
    ) -> Ranking:
        """The best of each user's candidates: `best` of `candidates`."""
        fresh = fresh or self.plain
        return self.best(self.candidates(batch, fresh), counts, fresh=fresh, new_slots=new_slots)

    def best(
        self,
        candidates: Candidates,
        counts: int | Sequence[int],
        *,
        fresh: Fresh,
        new_slots: int,
        listable: Bools | None = None,
        lots: Callable[[int], int] | None = None,
    ) -> Ranking:
        """Candidates, scored by the ranker, and the best of each list.

        `counts`: how many to list; `listable` (M,): which candidates their lists may hold, None for all; `new_slots`:
        places of a list of ten or more kept for new and untouched items, drawn by the users' `lots`.
        """
        scores = self.ranker.score(candidates.features)
        if listable is not None:
            scores[~listable] = -np.inf
        to_explore = None
        if new_slots and (self._any_cold or len(fresh.vectors) > len(self)):
            to_explore = self._explorable(candidates)
        return choose(
            candidates, scores, counts, keys=fresh.keys, explorable=to_explore, new_slots=new_slots, lots=lots
        )

    def _explorable(self, candidates: Candidates) -> Explorable | None:
        """Candidates that are new or untouched, by anybody and by the user; None where there are none."""
        found, users = np.empty(len(candidates.rows), np.bool_), np.empty(len(candidates.starts) - 1, np.bool_)
        cold, met = self._cold_or_newer, self._times_in_history
        count = explorable(candidates.rows, candidates.starts, cold, candidates.features, met, found, users)
        return Explorable(found, users) if count else None

    @cached_property
    def _any_cold(self) -> bool:
        return bool(self.cold.any())

    @cached_property
    def _cold_or_newer(self) -> Bools:
        """Which items nobody has touched yet, and behind them all that are newer, (N + 1,)."""
        return np.append(self.cold, True)

    @cached_property
    def _times_in_history(self) -> int:
        return feature_names(list(self.memories)).index("times_in_history")

    def _without_rejected(self, batch: HistoryBatch) -> HistoryBatch:
        """The batch with removed and disliked items as unknown: nothing should follow from them."""
        rejected = self._rejections[batch.types]
        if not np.count_nonzero(rejected):
            return batch
        return replace(batch, rows=np.where(rejected, np.int32(UNKNOWN), batch.rows))

    @cached_property
    def _rejections(self) -> Bools:
        """Which event types say that an item is not wanted."""
        return np.asarray(self.kinds == NEGATIVE)
