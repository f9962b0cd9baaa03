"""Batches made column by column hold what was put into them, read by the Kafka client's own reader."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stream.wire.record_batches import MadeBatch, record_batches

NOW = 1_795_435_200_000
Messages = list[tuple[bytes, bytes]]
# Lengths on both sides of where a length takes a byte more.
texts = st.one_of(st.binary(max_size=70), st.integers(8_180, 8_200).map(bytes), st.integers(60, 70).map(bytes))
messages = st.lists(st.tuples(texts, texts), max_size=150)


def made(partitions: list[Messages], max_bytes: int) -> list[list[MadeBatch]]:
    every = [message for part in partitions for message in part]
    keys, values = (pa.array([message[side] for message in every], pa.binary()) for side in (0, 1))
    return record_batches(keys, values, [len(part) for part in partitions], timestamp=NOW, max_bytes=max_bytes)


def plain(part: Messages, producer: tuple[int, int, int]) -> bytes:
    """One batch of them as the client makes it, message by message."""
    builder = BatchBuilder(1 << 30, 0)
    for key, value in part:
        builder.append(timestamp=NOW, key=key, value=value)
    builder._set_producer_state(*producer)
    return bytes(builder._build())


@given(partitions=st.lists(messages, max_size=4), max_bytes=st.integers(17_000, 60_000))
@example(partitions=[[(b"", b"")] * 9_000], max_bytes=1 << 20)  # numbers of three bytes
@settings(max_examples=60, deadline=None)
def test_the_same_bytes_as_message_by_message(partitions: list[Messages], max_bytes: int) -> None:
    """Each batch is, byte for byte, the one that the client's own builder makes; none is too large, none is empty."""
    for part, batches in zip(partitions, made(partitions, max_bytes), strict=True):
        ends = [sum(batch.record_count() for batch in batches[:count]) for count in range(len(batches) + 1)]
        assert ends[-1] == len(part)
        for batch, (start, end) in zip(batches, pairwise(ends), strict=True):
            assert start < end
            batch._set_producer_state(7, 1, start)
            assert bytes(batch._build()) == plain(part[start:end], (7, 1, start))
            assert len(batch._build()) == batch.size() <= max_bytes


@given(part=messages)
@settings(max_examples=30, deadline=None)
def test_the_clients_reader_finds_every_message(part: Messages) -> None:
    """Keys, values, their order, the time and a right check sum."""
    found = []
    for batch in made([part], 1 << 20)[0]:
        read = MemoryRecords(bytes(batch._build())).next_batch()
        assert read.validate_crc()
        found += [(record.key, record.value, record.timestamp) for record in read]
    assert found == [(key, value, NOW) for key, value in part]


def test_a_message_that_fits_into_no_batch_is_refused() -> None:
    """It is said how large it is, instead of sending what a broker would refuse."""
    with pytest.raises(ValueError, match="does not fit into a batch: 1022 bytes"):
        made([[(b"", b"")], [(b"k", bytes(1_000))]], 1_000)
