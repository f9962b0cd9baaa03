"""What draws are made by: a number that looks random and is the same wherever the same list is made again."""

from __future__ import annotations

import hashlib

import msgspec

_PACK = msgspec.msgpack.Encoder()


def lot(*parts: int | str) -> int:
    """64 bits of a digest of the parts.

    >>> lot(7, 1201, "71053") == lot(7, 1201, "71053") != lot(8, 1201, "71053")
    True
    """
    return int.from_bytes(hashlib.blake2b(_PACK.encode(parts), digest_size=8).digest(), "big")
