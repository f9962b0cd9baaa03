"""Whether the records of a partition come without a gap: a skipped event would be lost for good.

A step back is a replay and harmless. A jump forward is either nothing (transaction markers and records deleted by
retention take offsets too) or a skipped record; only Kafka can tell which.
"""

from __future__ import annotations

import asyncio

from aiokafka import TopicPartition

from stream.kafka import reader
from stream.settings import KafkaSettings

PATIENCE_SECONDS = 30.0


class SkippedRecordsError(RuntimeError):
    """Records were passed over without having been processed.

    Operator action: none, the process ends and reads them again after its restart; report it if it happens twice.
    """


class Contiguity:
    """The next offset expected of each partition."""

    def __init__(self) -> None:
        self._expected: dict[TopicPartition, int] = {}

    def forget(self) -> None:
        """After a rebalance every partition resumes from what is committed."""
        self._expected.clear()

    def jump(self, tp: TopicPartition, first: int, last: int, committed: int | None) -> int | None:
        """Takes note of records `first` to `last`; returns the offset that was expected if they lie beyond it.

        `committed` is where the partition resumed, asked for its first records only.

        >>> contiguity, tp = Contiguity(), TopicPartition("events", 0)
        >>> contiguity.jump(tp, 5, 9, committed=5), contiguity.jump(tp, 7, 12, 5), contiguity.jump(tp, 14, 15, 5)
        (None, None, 13)
        """
        expected = self._expected.get(tp, committed or 0)
        self._expected[tp] = last + 1
        return expected if first > expected else None

    def positions(self) -> dict[TopicPartition, int]:
        """The next offset of each partition that has been read from."""
        return dict(self._expected)


async def check_jump(kafka: KafkaSettings, tp: TopicPartition, expected: int, first: int) -> None:
    """Raises SkippedRecordsError if a record stands between `expected` and `first`."""
    async with reader(kafka) as consumer:
        consumer.assign([tp])
        consumer.seek(tp, expected)
        async with asyncio.timeout(PATIENCE_SECONDS):
            record = await consumer.getone(tp)
    if record.offset < first:
        raise SkippedRecordsError(f"{tp.topic}-{tp.partition}: {record.offset} to {first - 1} were skipped")
