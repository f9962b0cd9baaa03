"""Each dead letter is written once in effect.

A worker that comes back after a crash reads bad records again whose letters stand already. It learns from the end of
the dead-letters partition which ones, and writes no letter twice.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from aiokafka import TopicPartition

from stream.kafka import patiently, read_partitions, reader
from stream.settings import KafkaSettings
from stream.wire.dead_letters import source_of

BLOCK = 500  # dead letters looked at in one step back


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
