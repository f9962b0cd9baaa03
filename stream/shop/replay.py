"""Replays a log from a file into Kafka: every row is sent or listed as rejected, and a stopped replay goes on."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import NamedTuple

import msgspec

from stream.settings import Settings
from stream.shop.delivery import Delivery, Message, Record
from stream.shop.event_lot import EventLot
from stream.shop.interactions import Interaction
from stream.shop.item_files import read_items
from stream.shop.log_file import ItemNews, Lot, Plan, Rejects, Status, by_time, newest_of, read_log, singly
from stream.shop.rows import RowProblem
from stream.wire.decoding import Decoder
from stream.wire.messages import Item
from stream.wire.topics import EVENTS, ITEMS

CHUNK = 5_000  # events read, and at the fastest speed handed over, at once
IN_FLIGHT = 4  # chunks that wait for their acknowledgement
TICK_SECONDS = 0.1  # at a pace, events due within a tick leave together
_encode = msgspec.json.Encoder().encode


@dataclass
class Pace:
    """When an event is due, and the time it carries. Files that step back in time do not wait for that."""

    speed: float | None
    shift: bool
    shift_ms: int = 0  # constant, for the fastest speed
    start: float = 0.0  # wall clock of the first event, epoch seconds
    first: int | None = None
    newest: int = 0

    def at_once(self, lot: Lot) -> Lot:
        """Events that leave at the fastest speed, with the times that they are to say."""
        self.newest = max(self.newest, newest_of(lot))
        if not self.shift:
            return lot
        if isinstance(lot, EventLot):
            return lot.shifted(self.shift_ms)
        for event in lot:
            event.timestamp += self.shift_ms
        return lot

    def due(self, timestamp: int, speed: float) -> float:
        """The wall-clock second at which an event is to be sent."""
        if self.first is None:
            self.start, self.first, self.newest = time.time(), timestamp, timestamp
        self.newest = max(self.newest, timestamp)
        return self.start + (self.newest - self.first) / 1000 / speed


class _InFlight(NamedTuple):
    """A chunk on its way: the events up to `position`, handed over at `since` (epoch ms)."""

    acknowledged: asyncio.Future[list[object]]
    position: int
    newest: int
    since: int


def _in_lots(events: Iterable[Interaction]) -> Iterator[list[Interaction]]:
    source = iter(events)
    while lot := list(islice(source, CHUNK)):
        yield lot


def _first(lots: Iterable[Lot], limit: int | None) -> Iterator[Lot]:
    """The first events, all where there is no limit."""
    left = limit
    for lot in lots:
        yield lot[:left]
        if left is not None:
            left -= len(lot)
            if left <= 0:
                return


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
        self._pace = Pace(plan.speed, plan.shift_to_now, shift_ms)
        self._items = ItemNews()
        self._acknowledged, self._standing = acknowledged, standing
        self._unacknowledged: deque[_InFlight] = deque()
        self.status = Status(events=acknowledged, resumed_from=acknowledged)

    async def run(self, delivery: Delivery) -> Status:
        """Sends everything that is left. Raises KafkaError when Kafka refuses; what it acknowledged is saved."""
        if self._plan.items is not None and not self.status.resumed_from:
            await self._send_items(self._plan.items, delivery)
        now = int(time.time() * 1000)
        lots = self._shown(read_log(self._plan, self._decoder, self._rejects, self.status, now))
        if self._plan.sort:
            lots = _in_lots(by_time(singly(lots)))
        elif self._plan.speed is not None:
            lots = _in_lots(singly(lots))
        self.status.phase = "reading" if self._plan.sort else "sending"
        position = self._acknowledged
        for due, lot in self._paced(self._unsent(_first(lots, self._plan.limit))):
            self.status.phase = "sending"
            position += len(lot)
            await asyncio.sleep(max(0.0, due - time.time()))
            since = int(time.time() * 1000)
            acknowledged = await self._send(lot, delivery)
            if acknowledged is not None:
                self._unacknowledged.append(_InFlight(acknowledged, position, self._pace.newest, since))
                await self._settle(IN_FLIGHT - 1)
        await self._settle(0)
        self.status.events = position
        self._save(position, int(time.time() * 1000))
        self.status.rejected = dict(self._rejects.counts)
        self._report(self.status)
        return self.status

    def _shown(self, lots: Iterable[Lot]) -> Iterator[Lot]:
        for lot in lots:
            self._report(self.status)
            yield lot

    def _unsent(self, lots: Iterable[Lot]) -> Iterator[Lot]:
        """Without what earlier runs have sent, but for what that said of items, which is remembered."""
        passed = 0
        for lot in lots:
            before = lot[: self._acknowledged - passed]
            passed += len(before)
            if isinstance(before, list):
                for event in before:
                    self._news(event)
            if len(before) < len(lot):
                yield lot[len(before) :]

    def _paced(self, lots: Iterable[Lot]) -> Iterator[tuple[float, Lot]]:
        """Events that leave together, with the times that they are to say, and when they are due."""
        pace = self._pace
        for lot in lots:
            if pace.speed is None or isinstance(lot, EventLot):
                yield 0.0, pace.at_once(lot)
                continue
            part: list[Interaction] = []
            first_due = 0.0
            for event in lot:
                due = pace.due(event.timestamp, pace.speed)
                if part and due - first_due > TICK_SECONDS:
                    yield first_due, part
                    part = []
                first_due = first_due if part else due
                if pace.shift:
                    event.timestamp = int(due * 1000)
                part.append(event)
            yield first_due, part

    async def _send(self, lot: Lot, delivery: Delivery) -> asyncio.Future[list[object]] | None:
        """Hands over what events say, and what they tell of items, but for those that stand in the topic already."""
        if isinstance(lot, EventLot):
            new = lot.without(self._standing)
            self.status.resumed_from += len(lot) - len(new)
            return await delivery.send_lot(self._events_topic, new) if len(new) else None
        messages = self._messages(lot)
        return await delivery.send(messages) if messages else None

    def _messages(self, events: Sequence[Interaction]) -> list[Record]:
        """What events say, and what they tell of items; not those that stand in the topic already."""
        news = [item for item in map(self._news, events) if item is not None]
        self.status.items += len(news)
        new = [event for event in events if event.event_id not in self._standing] if self._standing else events
        self.status.resumed_from += len(events) - len(new)
        told = [Message(self._items_topic, item.item_id.encode(), _encode(item)) for item in news]
        return [*told, *zip(repeat(self._events_topic), [event.user_id.encode() for event in new], map(_encode, new))]

    def _news(self, event: Interaction) -> Item | None:
        """What an event tells of its item that is news; its own message will not say it."""
        item, event.item = event.item, None
        return None if item is None else self._items.news(item, event.timestamp)

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
