"""What a worker answers from: one snapshot, the catalogue's masks over its rows, and the items newer than it.

A list is a pure function of the snapshot, the catalogue and the query; before the first artifact also of what was
observed. No clock is read: the time of a query is that of the event that asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from math import isfinite

import msgspec
import numpy as np

from indexing.candidates import Candidates, Room, SourceNames
from indexing.histories import HistoryBatch, Int32s, Int64s
from indexing.vectors import one_thread
from indexing.warming import compile_kernels
from models.vocabulary import Vocabulary
from stream.knowledge.catalogue import Catalogue, asks_for_attributes
from stream.knowledge.explaining import because
from stream.knowledge.fresh import FreshVectors
from stream.knowledge.listed import Lists, RankedList
from stream.knowledge.lots import lot
from stream.knowledge.places import Places, Popular, fill, neighbours
from stream.knowledge.popularity import LivePopularity
from stream.knowledge.served import Bools, ServedItems
from stream.knowledge.snapshot import LONGEST_HISTORY, Fresh, Snapshot
from stream.wire.messages import NO_FILTERS, Filters

__all__ = ["LivePopularity", "Query", "RankedList", "Serving", "one_thread"]

SLICE = 256  # lists made at once: more make no list cheaper and hold more memory
DISLIKE = ("dislike",)  # the event types that say so before there is an artifact, which knows the settings' own
LOT_ITEMS = 5  # the newest of a history, which with the time of the event make its draws its own


Stage = Callable[[str], AbstractContextManager[None]]


def untimed(_name: str) -> AbstractContextManager[None]:
    """A stage that nobody times."""
    return nullcontext()


class Query(msgspec.Struct, frozen=True):
    """One list to make: a history, oldest first, asked at `now` (epoch milliseconds of the event that asks).

    `intent`: the event type that the list is for, None for the first that anything was learned of.
    """

    items: Sequence[str]
    types: Sequence[str]
    times: Sequence[int]
    now: int
    count: int = 20
    filters: Filters = NO_FILTERS
    purchased: Sequence[str] = ()
    explain: bool = False
    intent: str | None = None


class Serving:
    """Makes lists; held by one reference and replaced as a whole when another snapshot comes.

    It may be made in a thread while the catalogue goes on: `item_changed` must then be called, before the first list,
    for the items that changed meanwhile. Everything else is called by one thread at a time.
    """

    def __init__(
        self,
        snapshot: Snapshot | None,
        catalogue: Catalogue,
        popularity: LivePopularity,
        *,
        new_slots: int = 2,
        seed: int = 7,
    ) -> None:
        self.snapshot = snapshot
        self.catalogue = catalogue
        self.popularity = popularity
        self.new_slots = new_slots
        self.seed = seed
        self.items = ServedItems(Vocabulary(()) if snapshot is None else snapshot.vocabulary, catalogue)
        self._vectors = None if snapshot is None else FreshVectors(snapshot)
        self._popular = Popular(snapshot, self.items, popularity)
        self._room = Room()
        self._observed = 0
        self._not_encoded: dict[str, int] = {}
        self._names_of_bits = SourceNames(() if snapshot is None else tuple(snapshot.memories))
        self._encode(self.items.newer, np.arange(len(self.items.vocabulary), len(self.items)))

    @property
    def catalogue_position(self) -> tuple[tuple[int, int], ...]:
        """How much of `items` has been taken in: (partition, next offset), sorted."""
        return tuple(sorted(self.catalogue.position.items()))

    @property
    def cold_items(self) -> int:
        """The number of items newer than the snapshot (all of them when there is none)."""
        return len(self.items.newer)

    def item_changed(self, item_id: str) -> None:
        """Takes over what the catalogue now says of an item: it counts from the next list on."""
        row = self.items.refresh(item_id)
        if row >= len(self.items.vocabulary):
            self._not_encoded[item_id] = row
            if len(self._not_encoded) >= SLICE:
                self._settle()

    def recommend(self, queries: Sequence[Query], stage: Stage = untimed) -> list[RankedList]:
        """One list for each query, full as long as enough available items pass its filters.

        `stage` is entered with the name of each part of the work, for whoever wants to time it.
        """
        self._settle()
        slices = [queries[start : start + SLICE] for start in range(0, len(queries), SLICE)]
        return [ranked for part in slices for ranked in self._recommend(part, stage).every()]

    def similar(
        self, item_id: str, count: int = 20, filters: Filters = NO_FILTERS, purchased: Sequence[str] = ()
    ) -> RankedList:
        """Items that go with one item, visited together or alike in their vectors; never the item itself."""
        self._settle()
        row = self.items.row(item_id)
        query = Query((), (), (), 0, count, filters, purchased)
        allowed = self._allowed(query, item_id)
        lists = self._empty([query])
        if self.snapshot is None or row < 0:
            self._put_popular(lists, 0, query, "no_artifact" if self.snapshot is None else "popular", allowed)
            return lists[0]
        fresh = self._fresh()
        places = neighbours(self.snapshot, row, fresh, count, allowed)
        fill(places, count, fresh.vectors[row], snapshot=self.snapshot, fresh=fresh, allowed=allowed)
        lists.put(0, places)
        lists.because[0] = [[item_id]] * len(places.rows)
        return lists[0]

    def popular(self, count: int) -> list[str]:
        """The list for everybody of whom nothing is known; also what personal lists are measured against."""
        self._settle()
        return self.items.names(self._popular.best(count, self.items.available).rows)

    def warm_up(self) -> None:
        """Compiles and touches all that lists need, so that the first one is as fast as the others.

        Raises ValueError, or whatever a bad snapshot makes fail, where it cannot give lists.
        """
        one_thread()
        compile_kernels()
        if self.snapshot is None or len(self.snapshot) == 0:
            return
        known = self.snapshot.vocabulary.ids[:3]
        kinds = [self.snapshot.event_types[0]] * len(known)
        query = Query(known, kinds, [0] * len(known), 0, explain=True)
        lists = self.recommend([query, msgspec.structs.replace(query, filters=Filters(exclude_items=known))])
        lists.append(self.similar(known[0]))
        if not all(isfinite(score) for ranked in lists for score in ranked.scores):
            raise ValueError("its lists have scores that are not finite")

    def _settle(self) -> None:
        """Gives rows to what was only ever observed, and vectors to what is newer than the snapshot."""
        if self.snapshot is None and len(self.popularity) > self._observed:
            for item_id in self.popularity.since(self._observed):
                if self.items.row(item_id) < 0:
                    self.items.refresh(item_id)
            self._observed = len(self.popularity)
        if self._not_encoded:
            self._encode([*self._not_encoded], np.array([*self._not_encoded.values()], np.int64))
            self._not_encoded.clear()

    def _encode(self, item_ids: Sequence[str], rows: Int64s) -> None:
        """Gives items newer than the snapshot the vectors of what the catalogue says of them now."""
        if self.snapshot is not None and self._vectors is not None and len(item_ids):
            self._vectors.encode(rows, self.catalogue.features(item_ids, self.snapshot.tower.buckets), self.items.keys)

    def _fresh(self) -> Fresh:
        assert self._vectors is not None
        return self._vectors.fresh(self.items.available, self.items.keys)

    def _recommend(self, queries: Sequence[Query], stage: Stage) -> Lists:
        """Personal lists where anything of the history is known, popular ones elsewhere."""
        lists, snapshot = self._empty(queries), self.snapshot
        if snapshot is None:
            for user, query in enumerate(queries):
                self._put_popular(lists, user, query, "no_artifact")
            return lists
        batch = self._histories(snapshot, queries)
        if batch.all_known():
            self._put_personal(lists, np.arange(len(queries)), queries, batch, stage)
            return lists
        known = batch.known()
        users = np.flatnonzero(known)
        if len(users):
            personal = queries if len(users) == len(queries) else [queries[user] for user in users.tolist()]
            self._put_personal(lists, users, personal, batch.take(users), stage)
        for user in np.flatnonzero(np.logical_not(known)).tolist():
            self._put_popular(lists, user, queries[user], "popular" if len(queries[user].items) else "unknown_user")
        return lists

    def _histories(self, snapshot: Snapshot, queries: Sequence[Query]) -> HistoryBatch:
        """Histories in which items newer than the snapshot have their rows, too."""
        batch = snapshot.histories(queries)
        unknown = np.flatnonzero(batch.rows < 0) if self.items.newer else ()
        if len(unknown):
            names = list(chain.from_iterable(query.items[-LONGEST_HISTORY:] for query in queries))
            batch.rows[unknown] = [self.items.newer_row(names[at]) for at in unknown]
        return batch

    def _put_personal(
        self, lists: Lists, users: Int64s, queries: Sequence[Query], batch: HistoryBatch, stage: Stage
    ) -> None:
        """1. candidates, 2. the best of what each list may hold, in order, where `users` says."""
        snapshot, fresh = self.snapshot, self._fresh()
        assert snapshot is not None
        with stage("candidates"):
            candidates = snapshot.candidates(batch, fresh, self._room)
        with stage("rank"):
            counts = [query.count for query in queries]
            ranking = snapshot.best(
                candidates,
                counts,
                fresh=fresh,
                new_slots=self.new_slots,
                listable=self._listable(queries, candidates),
                lots=lambda user: self._lot(queries[user]),
            )
            lists.place(ranking, users)
            for number in (lists.sizes[users] < counts).nonzero()[0].tolist():
                places = lists.places(users[number])
                self._complete(snapshot, places, queries[number], batch.take(np.array([number])))
                lists.put(users[number], places)
            for number, query in enumerate(queries):
                if query.explain:
                    history = batch.rows[batch.starts[number] : batch.starts[number + 1]]
                    lists.because[int(users[number])] = self._because(lists.places(users[number]), history)

    def _complete(self, snapshot: Snapshot, places: Places, query: Query, history: HistoryBatch) -> None:
        """Fills a list by exact search, with what the user dislikes only when nothing else is left."""
        fresh = self._fresh()
        vector = fresh.encoder.encode(history.rows, history.types, history.times, history.starts, history.intents)[0]
        for disliked in (self._disliked(query), ()):
            if len(places.rows) < query.count:
                allowed = self._allowed(query, *disliked)
                fill(places, query.count, vector, snapshot=snapshot, fresh=fresh, allowed=allowed)

    def _because(self, places: Places, history: Int32s) -> list[list[str]]:
        """What of a history (T,) each place follows from."""
        assert self.snapshot is not None
        origins = because(self.snapshot, self._fresh().vectors, history, places.rows, places.bits)
        return [self.items.names([row] if row >= 0 else []) for row in origins]

    def _lot(self, query: Query) -> int:
        """What is drawn by: another number after each event of a user, the same wherever the list is made again."""
        return lot(self.seed, query.now, len(query.items), *query.items[-LOT_ITEMS:])

    def _listable(self, queries: Sequence[Query], candidates: Candidates) -> Bools | None:
        """Which candidates their lists may hold, (M,), without what the user disliked last; None for all."""
        listable = None
        for user, query in enumerate(queries):
            excluded = self._excluded(query) + self._disliked(query)
            if not excluded and not asks_for_attributes(query.filters):
                continue
            if listable is None:
                listable = np.ones(len(candidates.rows), np.bool_)
            part = slice(candidates.starts[user], candidates.starts[user + 1])
            listable[part] = self.items.passing(candidates.rows[part], query.filters, excluded)
        return listable

    def _disliked(self, query: Query) -> list[str]:
        """Items of which the latest event of the history says that they are not wanted."""
        unwanted = DISLIKE if self.snapshot is None else self.snapshot.unwanted
        if not [kind for kind in unwanted if kind in query.types]:
            return []
        latest = dict(zip(query.items, query.types, strict=True))
        return [item_id for item_id, kind in latest.items() if kind in unwanted]

    def _allowed(self, query: Query, *excluded: str) -> Bools:
        """Which rows a list may hold by the query's filters, (N + E,)."""
        return self.items.allowed(query.filters, [*self._excluded(query), *excluded])

    def _excluded(self, query: Query) -> list[str]:
        """Items that a list leaves out by name: those the filters name, what was seen, what was bought."""
        filters = query.filters
        names = list(filters.exclude_items)
        if filters.exclude_seen:
            names += query.items
        if filters.exclude_seen or filters.exclude_purchased is True:
            names += query.purchased
        elif filters.exclude_purchased == "auto":
            names += [item_id for item_id in query.purchased if self._bought_once(item_id)]
        return names

    def _bought_once(self, item_id: str) -> bool:
        """Whether the snapshot knows that what was bought is rarely bought again; it knows nothing of newer items."""
        row = self.items.row(item_id)
        snapshot = self.snapshot
        return snapshot is not None and 0 <= row < len(snapshot) and not snapshot.bought_again[row]

    def _empty(self, queries: Sequence[Query]) -> Lists:
        longest = max((query.count for query in queries), default=0)
        return Lists(self.items, self._names_of_bits, (len(queries), longest))

    def _put_popular(self, lists: Lists, user: int, query: Query, fallback: str, allowed: Bools | None = None) -> None:
        mask = self._allowed(query) if allowed is None else allowed
        lists.put(user, self._popular.best(query.count, mask))
        lists.fallbacks[user] = fallback
