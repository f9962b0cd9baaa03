"""Which partition a key belongs to, for the two partitioners that shops use."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from aiokafka.partitioner import murmur2

MANY = 32  # keys of one length from which on arrays are faster
MURMUR_SEED, MURMUR_FACTOR = 0x9747B28C, np.uint32(0x5BD1E995)

Partitioner = Callable[[bytes, int], int]


def murmur2_partition(key: bytes, partitions: int) -> int:
    """The Java client's choice (librdkafka: `partitioner=murmur2_random`)."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


def crc32_partition(key: bytes, partitions: int) -> int:
    """librdkafka's default choice (`consistent_random`)."""
    return zlib.crc32(key) % partitions


def murmur2_partitions(keys: Sequence[bytes], partitions: int) -> list[int]:
    """`murmur2_partition` of many keys.

    >>> murmur2_partitions([b"u17"] * 40, 8) == [murmur2_partition(b"u17", 8)] * 40
    True
    """
    found = [-1] * len(keys)
    by_length: dict[int, list[int]] = {}
    for at, key in enumerate(keys):
        by_length.setdefault(len(key), []).append(at)
    for length, places in by_length.items():
        if length and len(places) >= MANY:
            bits = np.frombuffer(b"".join(keys[at] for at in places), np.uint8).reshape(len(places), length)
            numbers = ((_murmur2(bits) & 0x7FFFFFFF) % partitions).tolist()
        else:
            numbers = [murmur2_partition(keys[at], partitions) for at in places]
        for at, number in zip(places, numbers, strict=True):
            found[at] = number
    return found


def _murmur2(keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Kafka's hash of keys of one length, (keys, bytes)."""
    length = keys.shape[1]
    whole = length // 4
    blocks = np.ascontiguousarray(keys[:, : 4 * whole]).view("<u4").astype(np.uint32) * MURMUR_FACTOR
    blocks = (blocks ^ np.right_shift(blocks, 24, dtype=np.uint32)) * MURMUR_FACTOR
    hashes = np.full(len(keys), MURMUR_SEED ^ length, np.uint32)
    for block in blocks.T:
        hashes = hashes * MURMUR_FACTOR ^ block
    if length % 4:
        for at in range(4 * whole, length):
            hashes ^= np.left_shift(keys[:, at], 8 * (at - 4 * whole), dtype=np.uint32)
        hashes *= MURMUR_FACTOR
    hashes = (hashes ^ np.right_shift(hashes, 13, dtype=np.uint32)) * MURMUR_FACTOR
    return hashes ^ np.right_shift(hashes, 15, dtype=np.uint32)


def partitions_of(partitioner: str, keys: Sequence[bytes], partitions: int) -> list[int] | None:
    """Where a partitioner, by its name in the settings, puts keys; None for one that is not known."""
    if partitioner == "murmur2":
        return murmur2_partitions(keys, partitions)
    one = PARTITIONERS[partitioner]
    return None if one is None else [one(key, partitions) for key in keys]


PARTITIONERS: dict[str, Partitioner | None] = {"murmur2": murmur2_partition, "crc32": crc32_partition, "any": None}
