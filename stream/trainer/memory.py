"""What the trainer knows between refreshes: the window, the catalogue, the parent, and what of it is new."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.manifest import Manifest
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.window import Window
from stream.trainer.items import ItemReader
from stream.trainer.reading import EventReader


class Memory:
    """Changed between refreshes only: a refresh reads it from a thread of its own.

    `new_events` are the newest ones of the window: those that `parent` has not learned from. `positions` (of events)
    and `item_positions` are the next offsets behind what has been absorbed.
    """

    def __init__(self, event_types: tuple[str, ...], most_events: int, known_items: Mapping[int, int]) -> None:
        self.window = Window(event_types)
        self.catalogue = Catalogue()
        self.parent: Snapshot | None = None
        self.new_events = 0
        self.positions: dict[int, int] = {}
        self.item_positions: dict[int, int] = {}
        self._most_events = most_events
        self._known_items = known_items
        self._news = 0  # new events and item records absorbed since the last refresh began
        self._begun = 0  # those with which it began

    @property
    def has_news(self) -> bool:
        """Whether anything has come since the last refresh began, or since the parent when there was none."""
        return self._news > 0

    def absorb(self, events: EventReader, items: ItemReader) -> None:
        """Takes in everything that has arrived, and forgets the oldest events beyond the most that the window holds."""
        arrivals, self.positions = events.take()
        for is_new, event, partition, offset in arrivals:
            self.window.append(
                event.user_id, event.item_id, event.event_type, event.timestamp, event.session_id, partition, offset
            )
            self.new_events += is_new
            self._news += is_new
        self.window.trim(self._most_events)
        self.new_events = min(self.new_events, len(self.window))
        changed, self.item_positions = items.absorb(self.catalogue, self._known_items)
        self._news += changed

    def begin(self) -> None:
        """A refresh begins: what came until now is no news for the one after it, unless this one fails."""
        self._begun, self._news = self._news, 0

    def failed(self) -> None:
        """The refresh died of an error, of which its news knew nothing: they are news for the next one."""
        self._news += self._begun
        self._begun = 0

    def learned(self, child: Snapshot) -> None:
        """A refresh has been published: its snapshot is the next parent, and has learned from all events."""
        self.parent, self.new_events = child, 0

    def go_on_from(self, parent: Snapshot, manifest: Manifest) -> None:
        """Another artifact was made the champion: it is the next parent, and what came after it is new again."""
        self.parent = parent
        partitions, offsets = self.window.column("partitions"), self.window.column("offsets")
        new = np.ones(len(self.window), np.bool_)
        for partition, span in manifest.window.partitions.items():
            new &= (partitions != partition) | (offsets >= span.end)
        self.new_events = int(np.count_nonzero(new))
