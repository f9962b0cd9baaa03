"""Event types, times and partitioners."""

from __future__ import annotations

import zlib

import pytest
from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from stream.wire.event_types import DEFAULT_EVENT_TYPES, EventType, EventTypes
from stream.wire.partitioner import MANY, PARTITIONERS, crc32_partition, murmur2_partition, partitions_of
from stream.wire.times import to_iso, to_milliseconds


def test_event_types_of_the_contract() -> None:
    """Codes are positions; what removes or dislikes is no sign of wanting."""
    types = EventTypes(DEFAULT_EVENT_TYPES)
    assert types.names == ("click", "cart", "purchase", "remove", "dislike")
    assert [types.code(name) for name in types.names] == [0, 1, 2, 3, 4]
    assert [types.is_positive(name) for name in types.names] == [True, True, True, False, False]
    assert types.code("gone") == -1
    assert not types.is_positive("gone")
    assert types.canonical("Click") is None


@pytest.mark.parametrize(
    "table",
    [
        (EventType("a"), EventType("a")),
        (EventType("a"), EventType("b", aliases=["a"])),
        (EventType("a", aliases=["c"]), EventType("b", aliases=["c"])),
    ],
)
def test_a_name_means_one_thing(table: tuple[EventType, ...]) -> None:
    """A name or alias given twice is an error."""
    with pytest.raises(ValueError, match="twice"):
        EventTypes(table)


def test_times_by_hand() -> None:
    """One day and one millisecond before and after the epoch, and a leap day."""
    assert to_iso(0) == "1970-01-01T00:00:00.000Z"
    assert to_iso(86_400_001) == "1970-01-02T00:00:00.001Z"
    assert to_iso(-1) == "1969-12-31T23:59:59.999Z"
    assert to_milliseconds("1972-02-29T00:00:00Z") == 789 * 86_400_000
    assert to_milliseconds(float("nan")) is None
    assert to_milliseconds(float("inf")) is None


JAVA_MURMUR2 = {  # org.apache.kafka.common.utils.UtilsTest.testMurmur2
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "expected"), JAVA_MURMUR2.items())
def test_murmur2_is_the_java_clients(key: bytes, expected: int) -> None:
    """Kafka's own test vectors, and the partition its default partitioner takes: `toPositive(hash) % partitions`."""
    assert murmur2(key) & 0xFFFFFFFF == expected & 0xFFFFFFFF
    assert murmur2_partition(key, 8) == (expected & 0x7FFFFFFF) % 8


def test_crc32_is_librdkafkas_default() -> None:
    """The check value of CRC-32 (ISO-HDLC) for `123456789` is CBF43926."""
    assert zlib.crc32(b"123456789") == 0xCBF43926
    assert crc32_partition(b"123456789", 8) == 0xCBF43926 % 8
    assert PARTITIONERS["any"] is None


@given(st.lists(st.binary(max_size=9), max_size=6), st.integers(1, 99))
def test_many_keys_go_where_each_alone_goes(keys: list[bytes], partitions: int) -> None:
    """Keys of all lengths, so many of each that arrays are used."""
    many = keys * MANY
    for name, alone in PARTITIONERS.items():
        together = partitions_of(name, many, partitions)
        assert together == (None if alone is None else [alone(key, partitions) for key in many])
