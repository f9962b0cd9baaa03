"""The headers of a dead letter: the original ones, and ours with the reason and the place of the bad record."""

from __future__ import annotations

from aiokafka.structs import ConsumerRecord

from stream.wire.decoding import Rejection

OURS = "alluvium-"
ERROR, DETAIL, SOURCE, TRUNCATED = "alluvium-error", "alluvium-detail", "alluvium-source", "alluvium-truncated"
REPLAYED = "alluvium-replayed"  # on a record put back: the source of its letter

Headers = list[tuple[str, bytes]]


def place_of(record: ConsumerRecord) -> str:
    """Where a record stands, as dead letters name it: topic-partition-offset."""
    return f"{record.topic}-{record.partition}-{record.offset}"


def original_headers(record: ConsumerRecord) -> Headers:
    """The bad record's own headers; Kafka's null values cannot be written by our client."""
    return [(name, value) for name, value in record.headers or () if value is not None]


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
