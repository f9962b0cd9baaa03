"""Headers whose names are no text stop no reader, and no record is read twice or passed over."""

from __future__ import annotations

import hashlib
import inspect
from typing import Any

import pytest
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as BatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchPy as Batch
from aiokafka.structs import TopicPartition

from stream.header_names import KeptRecords, PartitionRecords, UpstreamPartitionRecords

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
# SHA-256 of the source of what is relied on from inside.
RELIED_ON = {
    UpstreamPartitionRecords._unpack_records: "b803e6d46480732c7a7faa8e784b338bcdd4e707ea67fba96c013654b04b8a08",
    UpstreamPartitionRecords.__next__: "63ac34a08c309098fe6f0a08bc2870a6535069d7671187729bb5ffabd8efe2ac",
    Batch._read_msg: "0997ab7a58505c939c31b1cf5809aff4ac6de70f713794d3c62bd049a3270a4a",
    Batch._maybe_uncompress: "c9d0dc2bed50cc869d2dad835d60674244b4981082a86c1c1c5d82a6bef7c92c",
}


class Name(str):
    """A header's name that is written as bytes which are no UTF-8, as many as it has letters."""

    def encode(self, *_: Any) -> bytes:  # noqa: ANN401
        return b"\xff" * len(self)


def fetched(codec: int, *batches: tuple[int, list[str]]) -> KeptRecords:
    """A fetch of batches: first offset and the name of each record's header."""
    raw = b""
    for offset, names in batches:
        builder = BatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
        for number, name in enumerate(names):
            builder.append(number, 1_000 + number, b"k", b"v", [(name, b"x"), ("none", None)])
        raw += offset.to_bytes(8, "big") + bytes(builder.build())[8:]
    return KeptRecords(raw)


def read(records: KeptRecords, first: int) -> list[tuple[int, str]]:
    reader = PartitionRecords(TopicPartition("t", 0), records, None, first, None, None, True, 0)
    found = list(reader)
    assert all(record.headers[1] == ("none", None) for record in found)
    assert all((record.key, record.value) == (b"k", b"v") for record in found)
    return [(record.offset, record.headers[0][0]) for record in found]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("first", [0, 1])  # within the first batch, as the broker answers
def test_each_record_is_read_once(codec: str, first: int) -> None:
    """In whichever batch and place the names are, however packed, wherever reading begins."""
    names = ["a", "b", "c", Name("dd"), "e", Name("f"), "g", "h"]
    records = fetched(CODECS[codec], (0, names[:2]), (2, names[2:5]), (5, names[5:7]), (7, names[7:]))
    shown = [r"\xff" * len(name) if isinstance(name, Name) else name for name in names]
    assert read(records, first) == list(enumerate(shown))[first:]


def test_names_that_are_text_are_read_as_ever() -> None:
    assert read(fetched(0, (0, ["ä", ""])), 0) == [(0, "ä"), (1, "")]


@pytest.mark.parametrize("function", RELIED_ON, ids=lambda function: str(function.__qualname__))
def test_upstream_has_not_changed_what_is_relied_on(function: Any) -> None:  # noqa: ANN401
    """Another digest means that aiokafka changed: read its change, run the tests above, then pin the new one."""
    assert hashlib.sha256(inspect.getsource(function).encode()).hexdigest() == RELIED_ON[function]
