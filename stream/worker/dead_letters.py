"""The worker's dead letters, each written once in effect.

A worker that comes back after a crash reads bad records again whose letters stand already. It learns from the end of
the dead-letters partition which ones, and writes no letter twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

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
        self._writers: dict[int, LetterWriter] = {}

    async def write(self, bad: Sequence[BadRecord]) -> None:
        """Returns once all of them have their letters. Raises KafkaError where Kafka refuses for long."""
        by_partition: dict[int, list[BadRecord]] = {}
        for one in bad:
            by_partition.setdefault(one[0].partition, []).append(one)
        await asyncio.gather(*(self._writer(number).write(of_one) for number, of_one in by_partition.items()))

    async def close(self) -> None:
        """After a rebalance, or at the end: frees the connections."""
        writers, self._writers = self._writers, {}
        await asyncio.gather(*(writer.close() for writer in writers.values()))

    async def check(self) -> None:
        """Raises KafkaError unless Kafka lets us write in transactions: else the first bad record would tell."""
        client = await transactional_producer(self._kafka, f"{self._id}-check")
        await client.stop()

    def _writer(self, partition: int) -> LetterWriter:
        writer = self._writers.get(partition)
        if writer is None:
            standing = partial(read_standing, self._kafka, partition, self._committed)
            writer = LetterWriter(self._kafka, f"{self._id}-{partition}", self._limit, standing, log)
            self._writers[partition] = writer
        return writer


async def read_standing(
    kafka: KafkaSettings, partition: int, committed: Callable[[TopicPartition], int | None]
) -> Standing:
    """The newest records of this partition number that have their letters.

    Reads backwards, in blocks, until a letter is older than the group's commits: those before it are too.
    """
    letters = TopicPartition(kafka.topic_prefix + DEAD_LETTERS, partition)
    async with reader(kafka, isolation_level=COMMITTED) as consumer:
        consumer.assign([letters])
        ends = await log_ends(kafka, [letters])
        first = (await consumer.beginning_offsets([letters]))[letters]
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
