"""All that a worker knows besides user state: the catalogue and, by one reference, what it serves from."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from sys import intern

from stream.allocator import give_back_unused
from stream.failpoints import failpoint
from stream.giving_way import give_way
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.freeing import let_go, parts_of
from stream.knowledge.popularity import LivePopularity
from stream.knowledge.serving import Serving, one_thread
from stream.knowledge.snapshot import Snapshot
from stream.settings import Settings
from stream.wire.messages import Event, Item

SETTLE_SECONDS = 1.0  # live popularity is sorted anew after each change: once a second is enough for many items
FEW = 1_000  # distinct items up to which it is taken over at once

CAUGHT_UP = 512  # changed items at once: four times what comes in a turn of the reader, or it would not end

Make = Callable[[Snapshot | None], Serving]


class Knowledge:
    """Holds the catalogue, live popularity and the `Serving` of one version; made and used by one thread alone."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self.catalogue = Catalogue()
        self.popularity = LivePopularity()
        self._recommend = settings.recommend
        types = settings.event_types()
        self._positive = frozenset(filter(types.is_positive, types.names))
        self._clock = clock
        self._observed: list[str] = []
        self._settled_at = 0.0
        self._changed_meanwhile: list[str] | None = None
        one_thread()
        self.serving = self._make(None)

    def apply_item(self, partition: int, offset: int, item_id: str, item: Item | None) -> bool:
        """Takes in a record of `items`; from the next list on it counts. Returns whether the item was unknown."""
        new = item is not None and self.catalogue.number(item_id) < 0
        self.catalogue.apply(partition, offset, intern(item_id), item)  # as artifacts name it: one string
        self.serving.item_changed(item_id)
        if self._changed_meanwhile is not None:
            self._changed_meanwhile.append(item_id)
        return new

    def observe(self, events: Iterable[Event]) -> None:
        """Counts applied events for the popularity that is served before the first artifact."""
        if self.serving.snapshot is not None:
            return
        self._observed += [event.item_id for event in events if event.event_type in self._positive]
        if len(self.popularity) < FEW or self._clock() - self._settled_at >= SETTLE_SECONDS:
            self._settled_at = self._clock()
            self.popularity.observe(self._observed)
            self._observed.clear()

    async def swap(self, snapshot: Snapshot) -> None:
        """Makes and warms up a `Serving` in a thread, then replaces the one that serves and frees it bit by bit."""
        self._changed_meanwhile = []
        try:
            serving = await asyncio.to_thread(self._prepare, snapshot)
            await self._catch_up(serving)
        finally:
            self._changed_meanwhile = None
        failpoint("swap.prepared")
        held = parts_of(self.serving)  # to free a gigabyte at once would keep the loop waiting
        self.serving = serving
        failpoint("swap.assigned")
        await asyncio.to_thread(let_go, held)
        await asyncio.to_thread(give_back_unused)

    async def _catch_up(self, serving: Serving) -> None:
        """Tells it what has changed while it was made, and meanwhile, until there is nothing left."""
        while self._changed_meanwhile:
            changed = dict.fromkeys(self._changed_meanwhile[:CAUGHT_UP])
            del self._changed_meanwhile[:CAUGHT_UP]
            before = time.thread_time()
            for item_id in changed:
                serving.item_changed(item_id)
            await give_way(time.thread_time() - before)  # lists and heartbeats cannot wait for masses of items

    def _prepare(self, snapshot: Snapshot) -> Serving:
        serving = self._make(snapshot)
        serving.warm_up()
        return serving

    def _make(self, snapshot: Snapshot | None) -> Serving:
        slots, seed = self._recommend.new_slots, self._recommend.seed
        return Serving(snapshot, self.catalogue, self.popularity, new_slots=slots, seed=seed)
