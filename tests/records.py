"""Records as aiokafka hands them over."""

from __future__ import annotations

import json

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
