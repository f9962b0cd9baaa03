"""Batches gathered message by message are those that the Kafka client would make."""

from __future__ import annotations

import hashlib
import inspect

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder, MessageAccumulator, MessageBatch
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.wire.gathered import GatheredBatch, Headers
from stream.wire.record_batches import CODECS

# SHA-256 of the source of what asks our batches for something, and of what they stand for.
RELIED_ON = {
    BatchBuilder: "8050802ca75141861221210ca1d806b0d37741a45884bf8e77c5a4d1e0a58554",
    MessageBatch: "36a7b1dac89d2910c83a3668792154a180bd2e9ac09497c6ef7fda1328bf078d",
    MessageAccumulator.add_batch: "5ed1c5b1367ad85413d82f5704ed1165eecee5f30be6c234b3210ffd9461f02a",
    MessageAccumulator.add_message: "56ff7e6c19185f8345b99cf777813b6ed28345eb7c8860f0974df82ca62f5bcb",
}

NOW = 1_795_435_200_000
Message = tuple[bytes | None, bytes | None, Headers]

# Lengths on both sides of where a length takes a byte more.
texts = st.one_of(
    st.none(), st.binary(max_size=70), st.integers(60, 70).map(bytes), st.integers(8_180, 8_200).map(bytes)
)
headers = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=70)), max_size=3)
messages = st.lists(st.tuples(texts, texts, headers), max_size=120)


def gathered(part: list[Message], room: int = 1 << 24, codec: str = "none") -> list[GatheredBatch]:
    """Batches of them, each begun when the one before is full."""
    batches = [GatheredBatch(room, NOW, codec)]
    for message in part:
        if not batches[-1].add(*message):
            batches.append(GatheredBatch(room, NOW, codec))
            assert batches[-1].add(*message)
    return batches


def plain(part: list[Message], room: int = 1 << 24) -> list[BatchBuilder]:
    """The same with the client's builder."""
    batches = [BatchBuilder(room, 0)]
    for key, value, of_one in part:
        if batches[-1].append(timestamp=NOW, key=key, value=value, headers=of_one) is None:
            batches.append(BatchBuilder(room, 0))
            assert batches[-1].append(timestamp=NOW, key=key, value=value, headers=of_one)
    return batches


@given(part=messages, producer=st.tuples(*3 * [st.integers(-1, 1_000)]))
@example(part=[(b"", b"", [])] * 9_000, producer=(7, 1, 0))  # numbers of three bytes
@example(part=[(None, bytes(70_000), [])], producer=(7, 1, 0))  # longer than what is remembered
@settings(max_examples=60, deadline=None)
def test_the_same_bytes_as_the_client(part: list[Message], producer: tuple[int, int, int]) -> None:
    """Byte for byte; built again, as for a retry, it is the same."""
    (ours,), (theirs,) = gathered(part), plain(part)
    for batch in (ours, theirs):
        batch._set_producer_state(*producer)
    assert ours.size() == theirs.size()
    if part:  # the client leaves out the time of a batch without messages
        assert ours._build() == bytes(theirs._build()) == ours._build()
    assert (ours.record_count(), ours.closed()) == (theirs.record_count(), bool(part))


@given(part=messages, room=st.integers(100, 20_000))
@settings(max_examples=60, deadline=None)
def test_batches_are_as_full_as_the_clients(part: list[Message], room: int) -> None:
    """No larger than they may be, but for a message that has one to itself."""
    ours, theirs = gathered(part, room), plain(part, room)
    assert [batch.record_count() for batch in ours] == [batch.record_count() for batch in theirs]
    assert all(len(batch._build()) <= room or batch.record_count() == 1 for batch in ours if batch.record_count())


@given(
    part=st.lists(st.tuples(st.binary(max_size=70), st.binary(max_size=70)), max_size=120), room=st.integers(100, 5_000)
)
@settings(max_examples=60, deadline=None)
def test_many_at_once_are_as_one_by_one(part: list[tuple[bytes, bytes]], room: int) -> None:
    """The same batches; each says how many fit."""
    batches, left = [GatheredBatch(room, NOW)], part
    while (fitting := batches[-1].add_all(left)) < len(left):
        left = left[fitting:]
        batches.append(GatheredBatch(room, NOW))
    singly = gathered([(key, value, []) for key, value in part], room)
    assert [batch._build() for batch in batches] == [batch._build() for batch in singly]
    assert [batch.record_count() for batch in batches] == [batch.record_count() for batch in singly]


@pytest.mark.parametrize("codec", CODECS)
@given(part=messages.filter(len))
@settings(max_examples=20, deadline=None)
def test_the_clients_reader_finds_every_message(codec: str, part: list[Message]) -> None:
    """However they are packed; there is a right check sum."""
    (batch,) = gathered(part, codec=codec)
    read = MemoryRecords(batch._build()).next_batch()
    assert read.validate_crc()
    assert [(record.key, record.value, [*record.headers], record.timestamp) for record in read] == [
        (*message, NOW) for message in part
    ]
    assert read.compression_type == CODECS[codec][0]


def test_nothing_is_added_by_the_client() -> None:
    """Whoever sends a message by the same producer gets another batch for it."""
    (batch,) = gathered([(b"k", b"v", [])])
    assert batch.append(timestamp=None, key=b"k", value=b"w", headers=[]) is None
    assert batch.record_count() == 1


@pytest.mark.parametrize("part", RELIED_ON, ids=lambda part: str(part.__qualname__))
def test_upstream_has_not_changed_what_is_relied_on(part: object) -> None:
    """Another digest means that aiokafka changed: see what it asks of a batch now, then pin the new one."""
    assert hashlib.sha256(inspect.getsource(part).encode()).hexdigest() == RELIED_ON[part]  # type: ignore[arg-type]
