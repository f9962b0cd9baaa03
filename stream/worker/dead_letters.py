"""The worker's dead letters, each written once in effect.

A worker that comes back after a crash reads bad records again whose letters stand already. It learns from the end of
the dead-letters partition which ones, and writes no letter twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from aiokafka import TopicPartition

from stream.kafka import COMMITTED, log_ends, read_partitions, reader
from stream.letter_writer import BadRecord, LetterWriter, Standing, transactional_producer
from stream.logs import Log
from stream.settings import KafkaSettings
from stream.wire.dead_letters import source_of
from stream.wire.topics import DEAD_LETTERS

BLOCK = 500  # dead letters looked at in one step back

log = Log("alluvium.worker")


class Letters:
    """Writes the letters of the partitions held, each partition's under a transactional id of its own.

    A partition costs nothing before its first bad record after an assignment. `committed` is asked for the group's
    commits, `limit` is how many bytes the topic takes.
    """

    def __init__(
        self, kafka: KafkaSettings, group_id: str, limit: int, committed: Callable[[TopicPartition], int | None]
    ) -> None:
        self._kafka, self._limit, self._committed = kafka, limit, committed
        self._id = f"{kafka.topic_prefix}{group_id}-{DEAD_LETTERS}"
        self._desks: dict[int, Desk] = {}

    async def write(self, bad: Sequence[BadRecord]) -> None:
        """Returns once all of them have their letters. Raises KafkaError where Kafka refuses for long.

        May be entered again meanwhile, with later records.
        """
        by_partition: dict[int, list[BadRecord]] = {}
        for one in bad:
            by_partition.setdefault(one[0].partition, []).append(one)
        await asyncio.gather(*(self._desk(number).write(of_one) for number, of_one in by_partition.items()))

    async def close(self) -> None:
        """After a rebalance, or at the end: frees the connections."""
        desks, self._desks = self._desks, {}
        await asyncio.gather(*(desk.close() for desk in desks.values()))

    async def check(self) -> None:
        """Raises KafkaError unless Kafka lets us write in transactions: else the first bad record would tell."""
        client = await transactional_producer(self._kafka, f"{self._id}-check")
        await client.stop()

    def _desk(self, partition: int) -> Desk:
        desk = self._desks.get(partition)
        if desk is None:
            standing = partial(read_standing, self._kafka, partition, self._committed)
            writer = LetterWriter(self._kafka, f"{self._id}-{partition}", self._limit, standing, log)
            desk = self._desks[partition] = Desk(writer)
        return desk


class Writer(Protocol):
    """A `LetterWriter`, or what stands in for it."""

    async def write(self, bad: Sequence[BadRecord]) -> Sequence[BadRecord]:
        """As `LetterWriter.write`."""

    async def close(self) -> None:
        """As `LetterWriter.close`."""


class Desk:
    """One partition's: what comes while a transaction is under way goes into the next one, all of it together."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._free = asyncio.Lock()
        self._waiting: list[BadRecord] = []

    async def write(self, bad: Sequence[BadRecord]) -> None:
        """As `Letters.write`."""
        self._waiting += bad
        async with self._free:  # whoever waited longest writes for those behind it, who then find nothing to do
            if self._waiting:
                taken = self._waiting.copy()
                await self._writer.write(taken)
                del self._waiting[: len(taken)]

    async def close(self) -> None:
        """As `LetterWriter.close`."""
        await self._writer.close()


async def read_standing(
    kafka: KafkaSettings, partition: int, committed: Callable[[TopicPartition], int | None]
) -> Standing:
    """The newest records of this partition number that have their letters.

    Reads backwards, in blocks, until a letter is older than the group's commits: those before it are too.
    """
    letters = TopicPartition(kafka.topic_prefix + DEAD_LETTERS, partition)
    ends = await log_ends(kafka, [letters])
    async with reader(kafka, isolation_level=COMMITTED) as consumer:
        first = (await consumer.beginning_offsets([letters]))[letters]  # before it waits for records
        consumer.assign([letters])
        end = start = ends[letters]
        sources: list[tuple[str, int, int]] = []
        while start > first and not any(map(partial(_is_committed, committed), sources)):
            start = max(first, end - BLOCK - 4 * (end - start))
            consumer.seek(letters, start)
            read = [record async for records in read_partitions(consumer, [letters], ends) for record in records]
            sources = [source for record in read if (source := source_of(record)) and source[1] == partition]
    newest: dict[tuple[str, int], int] = {}
    for topic, _partition, offset in sources:
        newest[topic, partition] = max(offset, newest.get((topic, partition), -1))
    return newest


def _is_committed(committed: Callable[[TopicPartition], int | None], source: tuple[str, int, int]) -> bool:
    topic, partition, offset = source
    until = committed(TopicPartition(topic, partition))
    return until is not None and offset < until
