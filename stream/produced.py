"""Requests to produce, whose records are copied once where aiokafka copies them in each of its six layers.

The encoding of these requests is replaced when this module is imported.
"""

from __future__ import annotations

from typing import Any

from aiokafka.protocol import produce
from aiokafka.protocol.types import Array, Bytes, Int32, Schema

VERSIONS: tuple[Any, ...] = tuple(getattr(produce, f"ProduceRequest_v{number}") for number in range(9))


def encode(request: Any) -> bytes:  # noqa: ANN401  # aiokafka is untyped
    """What the request's schema makes of it."""
    pieces: list[bytes | memoryview] = []
    _gather(request.SCHEMA, [getattr(request, name) for name in request.SCHEMA.names], pieces)
    return b"".join(pieces)


def _gather(kind: Any, value: Any, pieces: list[bytes | memoryview]) -> None:  # noqa: ANN401
    if isinstance(kind, Schema):
        for field, part in zip(kind.fields, value, strict=True):
            _gather(field, part, pieces)
    elif isinstance(kind, Array) and value is not None:
        pieces.append(Int32.encode(len(value)))
        for one in value:
            _gather(kind.array_of, one, pieces)
    elif kind is Bytes and value is not None:
        pieces += (Int32.encode(len(value)), value)
    else:
        pieces.append(kind.encode(value))


for version in VERSIONS:
    version.encode = encode
