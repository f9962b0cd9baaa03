"""Dead letters: bad records as they came, and headers of ours with the reason and the place of the bad record."""

from __future__ import annotations

from typing import NamedTuple

from aiokafka.structs import ConsumerRecord

from stream.wire.decoding import Rejection

OURS = "alluvium-"
ERROR, DETAIL, SOURCE, TRUNCATED = "alluvium-error", "alluvium-detail", "alluvium-source", "alluvium-truncated"
REPLAYED = "alluvium-replayed"  # on a record put back: the source of its letter

OVERHEAD = 4096  # of a record batch, our headers included

Headers = list[tuple[str, bytes | None]]


class Letter(NamedTuple):
    """A record for the dead-letters topic."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def letter_for(record: ConsumerRecord, rejection: Rejection, limit: int) -> Letter:
    """The letter for a bad record, cut where Kafka would not take more than `limit` bytes."""
    headers, ours = original_headers(record), reason_headers(record, rejection)
    key, value = record.key, record.value
    room = limit - OVERHEAD
    theirs = sum(len(name.encode()) + len(content or b"") + 8 for name, content in headers)
    if len(key or b"") + len(value or b"") + theirs <= room:
        return Letter(key, value, headers + ours)
    size = f"the original has {len(value or b'')} bytes and a key of {len(key or b'')}"
    if theirs > room // 4:
        headers, theirs = [], 0
    key = None if key is None else key[: room // 4]
    value = None if value is None else value[: room - theirs - len(key or b"")]
    return Letter(key, value, [*headers, *ours, (TRUNCATED, size.encode())])


def place_of(record: ConsumerRecord) -> str:
    """Where a record stands, as dead letters name it: topic-partition-offset."""
    return f"{record.topic}-{record.partition}-{record.offset}"


def original_headers(record: ConsumerRecord) -> Headers:
    """The bad record's own headers."""
    return list(record.headers or ())


def reason_headers(record: ConsumerRecord, rejection: Rejection) -> Headers:
    """Why the record is bad and where it stands."""
    return [
        (ERROR, rejection.code.encode()),
        (DETAIL, rejection.detail.encode(errors="replace")),
        (SOURCE, place_of(record).encode()),
    ]


def source_of(record: ConsumerRecord) -> tuple[str, int, int] | None:
    """Topic, partition and offset that a dead letter was made from; None for a record that is none of ours."""
    named = [value for name, value in record.headers or () if name == SOURCE and value]
    return split_place(named[-1].decode(errors="replace")) if named else None


def split_place(place: str) -> tuple[str, int, int] | None:
    """Topic, partition and offset of a place as `place_of` names it; None where it is none."""
    try:
        topic, partition, offset = place.rsplit("-", 2)
        return topic, int(partition), int(offset)
    except ValueError:
        return None
