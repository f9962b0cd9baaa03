"""Dead letters: bad records as they came, with the reason in headers, each written once in effect.

A worker that comes back after a crash reads bad records again whose letters stand already. It learns from the end of
the dead-letters partition which ones, and writes no letter twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from aiokafka import TopicPartition

from stream.kafka import patiently, read_partitions, reader
from stream.settings import KafkaSettings
from stream.wire.dead_letters import TRUNCATED, Headers, original_headers, reason_headers, source_of
from stream.worker.batch import DeadLetter

OVERHEAD = 4096  # of a record batch, our headers included
BLOCK = 500  # dead letters looked at in one step back


class Letter(NamedTuple):
    """A record for the dead-letters topic."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def letter_for(dead: DeadLetter, limit: int) -> Letter:
    """The letter for a bad record, cut where Kafka would not take more than `limit` bytes."""
    record, rejection = dead
    headers, ours = original_headers(record), reason_headers(record, rejection)
    key, value = record.key, record.value
    room = limit - OVERHEAD
    theirs = sum(len(name.encode()) + len(content) + 8 for name, content in headers)
    if len(key or b"") + len(value or b"") + theirs <= room:
        return Letter(key, value, headers + ours)
    size = f"the original has {len(value or b'')} bytes and a key of {len(key or b'')}"
    if theirs > room // 4:
        headers, theirs = [], 0
    key = None if key is None else key[: room // 4]
    value = None if value is None else value[: room - theirs - len(key or b"")]
    return Letter(key, value, [*headers, *ours, (TRUNCATED, size.encode())])


class Tail:
    """What the dead-letters topic ends with: for each source, the newest offset that has its letter.

    Asked for a partition when its first bad record after an assignment comes, so that it costs nothing until then.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, committed: Callable[[TopicPartition], int | None]) -> None:
        self._kafka = kafka
        self._topic = topic
        self._committed = committed
        self._known: dict[int, dict[str, int]] = {}

    def forget(self) -> None:
        """After a rebalance: others may have written letters meanwhile."""
        self._known.clear()

    async def newest(self, partition: int) -> dict[str, int]:
        """The newest offset with a letter by source topic, for sources of this partition number."""
        if partition not in self._known:
            self._known[partition] = await patiently(partial(self._read, partition))
        return self._known[partition]

    async def _read(self, partition: int) -> dict[str, int]:
        """Reads backwards, in blocks, until a letter is older than the group's commits: those before it are too."""
        async with reader(self._kafka) as consumer:
            letters = TopicPartition(self._topic, partition)
            consumer.assign([letters])
            first = (await consumer.beginning_offsets([letters]))[letters]
            end = start = (await consumer.end_offsets([letters]))[letters]
            sources: list[tuple[str, int, int]] = []
            while start > first and not self._has_committed(sources):
                start = max(first, end - BLOCK - 4 * (end - start))
                consumer.seek(letters, start)
                read = [record async for records in read_partitions(consumer, [letters]) for record in records]
                sources = [source for record in read if (source := source_of(record)) and source[1] == partition]
        newest: dict[str, int] = {}
        for topic, _partition, offset in sources:
            newest[topic] = max(offset, newest.get(topic, -1))
        return newest

    def _has_committed(self, sources: list[tuple[str, int, int]]) -> bool:
        for topic, partition, offset in sources:
            committed = self._committed(TopicPartition(topic, partition))
            if committed is not None and offset < committed:
                return True
        return False
