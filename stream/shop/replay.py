"""Replays a log from a file into Kafka: every row is sent or listed as rejected, and a stopped replay goes on."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec

from stream.settings import Settings
from stream.shop.delivery import Delivery, Message
from stream.shop.interactions import Interaction
from stream.shop.item_files import read_items
from stream.shop.log_file import ItemNews, Plan, Rejects, Status, by_time, read_log
from stream.shop.rows import RowProblem
from stream.wire.decoding import Decoder
from stream.wire.topics import EVENTS, ITEMS

CHUNK = 5_000  # events handed over at once
IN_FLIGHT = 4  # chunks that wait for their acknowledgement
TICK_SECONDS = 0.1  # at a pace, events due within a tick leave together


@dataclass
class Pace:
    """When an event is due, and the time it carries. Files that step back in time do not wait for that."""

    speed: float | None
    shift: bool
    shift_ms: int = 0  # constant, for the fastest speed
    start: float = 0.0  # wall clock of the first event, epoch seconds
    first: int | None = None
    newest: int = 0

    def due(self, timestamp: int) -> float:
        """The wall-clock second at which an event is to be sent."""
        if self.first is None:
            self.start, self.first, self.newest = time.time(), timestamp, timestamp
        self.newest = max(self.newest, timestamp)
        return self.start if self.speed is None else self.start + (self.newest - self.first) / 1000 / self.speed

    def time_of(self, timestamp: int, due: float) -> int:
        """The event's time in its message, where times are shifted."""
        return timestamp + self.shift_ms if self.speed is None else int(due * 1000)


class _InFlight(NamedTuple):
    """A chunk on its way: the events up to `position`, handed over at `since` (epoch ms)."""

    acknowledged: asyncio.Future[list[object]]
    position: int
    newest: int
    since: int


class Replay:
    """One run of a plan against Kafka, from the event after `acknowledged` on, without those `standing` there by id."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        rejects: Rejects,
        *,
        acknowledged: int,
        standing: frozenset[str],
        shift_ms: int,
        report: Callable[[Status], None],
        save: Callable[[int, int], None],
    ) -> None:
        self._plan, self._rejects, self._report, self._save = plan, rejects, report, save
        self._decoder = Decoder(settings.events)
        self._events_topic = settings.kafka.topic_prefix + EVENTS
        self._items_topic = settings.kafka.topic_prefix + ITEMS
        self._shift_ms = shift_ms
        self._acknowledged, self._standing = acknowledged, standing
        self._unacknowledged: deque[_InFlight] = deque()
        self.status = Status(events=acknowledged, resumed_from=acknowledged)

    async def run(self, delivery: Delivery) -> Status:
        """Sends everything that is left. Raises KafkaError when Kafka refuses; what it acknowledged is saved."""
        if self._plan.items is not None and not self.status.resumed_from:
            await self._send_items(self._plan.items, delivery)
        now = int(time.time() * 1000)
        events: Iterable[Interaction] = read_log(self._plan, self._decoder, self._rejects, self.status, now)
        if self._plan.sort:
            events = by_time(self._shown(events))
        self.status.phase = "sending"
        position = 0
        for chunk in self._chunks(islice(events, self._plan.limit)):
            due, messages, count, newest = chunk
            position += count
            if messages:
                await asyncio.sleep(max(0.0, due - time.time()))
                since = int(time.time() * 1000)
                self._unacknowledged.append(_InFlight(await delivery.send(messages), position, newest, since))
                await self._settle(IN_FLIGHT - 1)
        await self._settle(0)
        self.status.events = position
        self._save(position, int(time.time() * 1000))
        self.status.rejected = dict(self._rejects.counts)
        self._report(self.status)
        return self.status

    def _shown(self, events: Iterable[Interaction]) -> Iterator[Interaction]:
        for number, event in enumerate(events):
            if number % CHUNK == 0:
                self._report(self.status)
            yield event

    def _chunks(self, events: Iterable[Interaction]) -> Iterator[tuple[float, list[Message], int, int]]:
        """Events that leave together: when they are due, their messages, how many events, the newest time.

        Events that an earlier run has sent are counted and not sent; what they said of items is remembered.
        """
        pace = Pace(self._plan.speed, self._plan.shift_to_now, self._shift_ms)
        items, encode, standing, topic = ItemNews(), msgspec.json.Encoder().encode, self._standing, self._events_topic
        messages: list[Message] = []
        count = newest = position = 0
        first_due = 0.0
        for event in events:
            position += 1
            news = None if event.item is None else items.news(event.item, event.timestamp)
            if position <= self._acknowledged:
                count += 1
                continue
            due = pace.due(event.timestamp)
            first_due = first_due or due
            if count and (count >= CHUNK or due - first_due > TICK_SECONDS):
                yield first_due, messages, count, newest
                messages, count, first_due = [], 0, due
            count, newest = count + 1, pace.newest
            event.item = None  # its message says nothing of it
            if news is not None:
                messages.append(Message(self._items_topic, news.item_id.encode(), encode(news)))
                self.status.items += 1
            if event.event_id in standing:
                self.status.resumed_from += 1
                continue
            if pace.shift:
                event.timestamp = pace.time_of(event.timestamp, due)
            messages.append(Message(topic, event.user_id.encode(), encode(event)))
        yield first_due, messages, count, newest

    async def _settle(self, allowed: int) -> None:
        """Waits until at most `allowed` chunks are unacknowledged, saving how far the others reach."""
        while len(self._unacknowledged) > allowed:
            settled = self._unacknowledged.popleft()
            await settled.acknowledged
            self.status.events, self.status.at = settled.position, settled.newest
            self.status.rejected = dict(self._rejects.counts)
            next_since = self._unacknowledged[0].since if self._unacknowledged else int(time.time() * 1000)
            self._save(settled.position, next_since)
            self._report(self.status)

    async def _send_items(self, file: Path, delivery: Delivery) -> None:
        found = read_items(file)
        while entries := list(islice(found, CHUNK)):
            messages = []
            for line, item in entries:
                if isinstance(item, RowProblem):
                    self._rejects.add(line, item, file.name)
                else:
                    messages.append(Message(self._items_topic, item.item_id.encode(), msgspec.json.encode(item)))
            await (await delivery.send(messages))
            self.status.items += len(messages)
