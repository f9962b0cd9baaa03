"""The trainer's reader of `items`: the catalogue, and dead letters for records that are no items, each written once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from stream.kafka import read_topic
from stream.knowledge.catalogue import Catalogue
from stream.settings import KafkaSettings
from stream.wire.dead_letters import SOURCE, original_headers, place_of, reason_headers
from stream.wire.decoding import Decoder, Rejection
from stream.wire.messages import Item
from stream.wire.topics import DEAD_LETTERS, ITEMS


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
    """Writes bad records of `items` to `dead-letters`, each exactly once over all runs of trainers.

    `below`: offsets up to which an earlier trainer is known to have written them (its artifact says so); `written`:
    sources that stand in `dead-letters` already.
    """

    def __init__(
        self,
        client: AIOKafkaProducer,
        kafka: KafkaSettings,
        below: Mapping[int, int],
        written: set[str],
        counted: Callable[[str], None],
    ) -> None:
        self._client, self._topic = client, kafka.topic_prefix + DEAD_LETTERS
        self._below, self._written, self._counted = below, written, counted
        self._queue: asyncio.Queue[BadRecord] = asyncio.Queue()

    def put(self, bad: BadRecord) -> None:
        """Takes a bad record, unless it is written already."""
        source = place_of(bad.record)
        if bad.record.offset >= self._below.get(bad.record.partition, 0) and source not in self._written:
            self._written.add(source)
            self._queue.put_nowait(bad)

    async def run(self) -> None:
        """Writes until cancelled. Raises KafkaError where the broker refuses."""
        while True:
            record, rejection = await self._queue.get()
            headers = [*original_headers(record), *reason_headers(record, rejection)]
            await self._client.send_and_wait(
                self._topic, record.value, key=record.key, partition=record.partition, headers=headers
            )
            self._counted(rejection.code)
            self._queue.task_done()

    async def flush(self) -> None:
        """Returns when everything taken so far stands in the topic."""
        await self._queue.join()


async def written_sources(kafka: KafkaSettings, since: int) -> set[str]:
    """The sources among `items` of all dead letters written from the moment `since` (epoch ms) on."""
    found: set[str] = set()
    items = f"{kafka.topic_prefix}{ITEMS}-"
    async for records in read_topic(kafka, kafka.topic_prefix + DEAD_LETTERS, since):
        for record in records:
            sources = (value.decode(errors="replace") for name, value in record.headers if name == SOURCE and value)
            found.update(source for source in sources if source.startswith(items))
    return found
