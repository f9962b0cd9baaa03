"""The trainer's reader of `items`: the catalogue, and dead letters for records that are no items, each written once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aiokafka.structs import ConsumerRecord

from stream.kafka import COMMITTED, read_topic
from stream.knowledge.catalogue import Catalogue
from stream.letter_writer import LetterWriter, Standing
from stream.settings import KafkaSettings
from stream.wire.dead_letters import source_of
from stream.wire.decoding import Decoder, Rejection
from stream.wire.messages import Item
from stream.wire.topics import DEAD_LETTERS, ITEMS

TOGETHER = 2_000  # letters of one transaction
MOST_WAITING = 2_000  # bad records in memory


class ItemChange(NamedTuple):
    """A valid record of `items`; None is a tombstone."""

    partition: int
    offset: int
    item_id: str
    item: Item | None


class BadRecord(NamedTuple):
    """A record of `items` that is no item, and why."""

    record: ConsumerRecord
    rejection: Rejection


def read_item(record: ConsumerRecord, decoder: Decoder) -> ItemChange | Rejection:
    """What a record of `items` says."""
    entry = decoder.catalogue_entry(record.key, record.value)
    return entry if isinstance(entry, Rejection) else ItemChange(record.partition, record.offset, *entry)


class ItemReader:
    """Takes the records of `items` as they come, and hands them to the catalogue while no refresh reads it."""

    def __init__(self, decoder: Decoder, bad: Callable[[BadRecord], None]) -> None:
        self.positions: dict[int, int] = {}
        self._decoder = decoder
        self._bad = bad
        self._changes: list[ItemChange] = []

    def apply(self, record: ConsumerRecord) -> None:
        """Takes one record."""
        self.positions[record.partition] = record.offset + 1
        change = read_item(record, self._decoder)
        if isinstance(change, Rejection):
            self._bad(BadRecord(record, change))
        else:
            self._changes.append(change)

    def absorb(self, catalogue: Catalogue, known: Mapping[int, int]) -> tuple[int, dict[int, int]]:
        """Applies what has come; how many of the records `known` did not cover, and the positions now."""
        changes, self._changes = self._changes, []
        for change in changes:
            catalogue.apply(*change)
        news = sum(change.offset >= known.get(change.partition, 0) for change in changes)
        return news, dict(self.positions)


class DeadLetters:
    """Hands bad records of `items` to a writer, lot by lot; those before the offsets `known` have their letters."""

    def __init__(self, writer: LetterWriter, known: Mapping[int, int], counted: Callable[[str], None]) -> None:
        self._writer, self._known, self._counted = writer, known, counted
        self._queue: asyncio.Queue[BadRecord] = asyncio.Queue()
        self._room = asyncio.Event()
        self._room.set()

    def put(self, bad: BadRecord) -> None:
        """Takes a bad record, each partition's in order, unless it is written already."""
        if bad.record.offset >= self._known.get(bad.record.partition, 0):
            self._queue.put_nowait(bad)
            if self._queue.qsize() >= MOST_WAITING:
                self._room.clear()

    async def room(self) -> None:
        """Returns when few enough wait: bad records come faster than letters are written, and must not fill memory."""
        await self._room.wait()

    async def run(self) -> None:
        """Writes until cancelled. Raises KafkaError where the broker refuses."""
        try:
            while True:
                lot = [await self._queue.get()]
                while len(lot) < TOGETHER and not self._queue.empty():
                    lot.append(self._queue.get_nowait())
                for _record, rejection in await self._writer.write(lot):
                    self._counted(rejection.code)
                for _ in lot:
                    self._queue.task_done()
                if self._queue.qsize() < MOST_WAITING:
                    self._room.set()
        finally:
            await self._writer.close()

    async def flush(self) -> None:
        """Returns when everything taken so far stands in the topic."""
        await self._queue.join()


async def read_standing(kafka: KafkaSettings, since: int) -> Standing:
    """The newest bad record of each partition of `items` whose letter was written from the moment `since` (ms) on."""
    found: dict[tuple[str, int], int] = {}
    letters = read_topic(kafka, kafka.topic_prefix + DEAD_LETTERS, since, isolation=COMMITTED, settled=True)
    async for records in letters:
        for topic, partition, offset in filter(None, map(source_of, records)):
            if topic == kafka.topic_prefix + ITEMS:
                found[topic, partition] = max(offset, found.get((topic, partition), -1))
    return found
