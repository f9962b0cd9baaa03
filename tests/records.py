"""Records as aiokafka hands them over: made, and read."""

from __future__ import annotations

import json

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from stream.worker.batch import Chunk


def record(  # noqa: PLR0917
    offset: int,
    value: object,
    key: bytes | None = None,
    partition: int = 0,
    topic: str = "events",
    timestamp: int = 1_795_435_200_000,
    headers: tuple[tuple[str, bytes | None], ...] = (),
) -> ConsumerRecord:
    """A record; anything but bytes and None as JSON."""
    encoded = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    return ConsumerRecord(topic, partition, offset, timestamp, 0, key, encoded, None, 0, 0, headers)


def event(user: str, item: str, kind: str = "click", **more: object) -> dict[str, object]:
    """An event's fields."""
    return {"user_id": user, "item_id": item, "event_type": kind, **more}


def chunk(*records: ConsumerRecord) -> Chunk:
    """Records of one partition."""
    return Chunk(records[0].topic, records[0].partition, records)


async def read_topic(servers: str, topic: str, partitions: int = 4) -> list[ConsumerRecord]:
    """All committed records that stand in a topic now, those of a partition in order."""
    options = {"auto_offset_reset": "earliest", "isolation_level": "read_committed"}
    async with AIOKafkaConsumer(bootstrap_servers=servers, **options) as consumer:
        assigned = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(assigned)
        ends = await consumer.end_offsets(assigned)
        found: list[ConsumerRecord] = []
        while any(
            [await consumer.position(tp) < end for tp, end in ends.items()]
        ):  # ends of transactions are no records
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
        return found
