"""Which partition a key belongs to, for the two partitioners that shops use."""

from __future__ import annotations

import zlib
from collections.abc import Callable

from aiokafka.partitioner import murmur2

Partitioner = Callable[[bytes, int], int]


def murmur2_partition(key: bytes, partitions: int) -> int:
    """The Java client's choice (librdkafka: `partitioner=murmur2_random`)."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


def crc32_partition(key: bytes, partitions: int) -> int:
    """librdkafka's default choice (`consistent_random`)."""
    return zlib.crc32(key) % partitions


PARTITIONERS: dict[str, Partitioner | None] = {"murmur2": murmur2_partition, "crc32": crc32_partition, "any": None}
