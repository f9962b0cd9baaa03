"""Requests to produce are byte for byte what aiokafka makes of them."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

import pytest
from aiokafka.protocol.struct import Struct
from aiokafka.protocol.types import Array, Bytes, Schema
from hypothesis import given
from hypothesis import strategies as st

from stream.produced import VERSIONS

# SHA-256 of the source of what is done in another way.
DONE_ANEW = {
    Struct.encode: "ede5976c899dd66a2492c7730b4ae123a75645ce4027cfa7692c4868bb1b8c9e",
    Schema.encode: "0cf5f9852ba23fc479edd08f1741dd62c3a46fe87dbd95e3f8674341029deb49",
    Array.encode: "26bc52f6c02ab6c3d23bdaad573d26ff3c401a5ccd1241b87f2b19ca8963ab3a",
    Bytes.encode: "ca5c8b815204d33337d82e6a5790f1a90bcf638b989b93bcd075014e96f4531c",
}


def _view(some: bytes) -> memoryview:
    return memoryview(some)


records = st.binary(max_size=40)
buffers: st.SearchStrategy[bytes | bytearray | memoryview] = st.one_of(
    records, records.map(bytearray), records.map(_view)
)
topics = st.lists(st.tuples(st.text(max_size=5), st.lists(st.tuples(st.integers(0, 2**31 - 1), buffers), max_size=3)))


@given(st.sampled_from(VERSIONS), st.none() | st.text(max_size=5), st.integers(-1, 1), st.integers(0, 9), topics)
def test_requests_are_as_upstream_makes_them(
    version: Any,  # noqa: ANN401
    transaction: str | None,
    acks: int,
    timeout: int,
    sent: Any,  # noqa: ANN401
) -> None:
    request = version(*[transaction][: version.API_VERSION >= 3], acks, timeout, sent)
    assert request.encode() == Struct.encode(request)


@pytest.mark.parametrize("function", DONE_ANEW, ids=lambda function: str(function.__qualname__))
def test_upstream_has_not_changed_what_is_done_anew(function: Any) -> None:  # noqa: ANN401
    """Another digest means that aiokafka changed: see whether it copies less now, then pin the new one."""
    assert hashlib.sha256(inspect.getsource(function).encode()).hexdigest() == DONE_ANEW[function]
