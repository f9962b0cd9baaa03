"""Fetches as readers get them: no header's name stops them, and no record is read twice or passed over."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka.consumer.fetcher import FetchResult
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as BatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchPy as Batch
from aiokafka.structs import ConsumerRecord, TopicPartition

from stream.fetched import FetchedRecord, KeptRecords, PartitionRecords, UpstreamPartitionRecords

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
# SHA-256 of the source of what is relied on from inside.
RELIED_ON = {
    UpstreamPartitionRecords._unpack_records: "b803e6d46480732c7a7faa8e784b338bcdd4e707ea67fba96c013654b04b8a08",
    UpstreamPartitionRecords.__init__: "8ec1c2ae6ea1af875db73e6d01604f3edf269faf5806c67c02d1f91b456d3571",
    UpstreamPartitionRecords.__next__: "63ac34a08c309098fe6f0a08bc2870a6535069d7671187729bb5ffabd8efe2ac",
    UpstreamPartitionRecords._consumer_record: "e668541600b047ab928a9008b54c00951d9ae7e2a11b82e7b00f3a5d71b0cc0c",
    FetchResult.getone: "3fc6f963223135d240785156577c916817f44b0eefedd927bca01382e192d155",
    FetchResult.getall: "3e717e30de5068d549dd41b231928c67a24e832a928d48bac5f485e448daa903",
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


def test_a_record_is_as_upstream_has_it() -> None:
    """Field by field, by the same names in the same order, whatever is null in it."""
    builder = BatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for number, (key, value) in enumerate([(b"k", b"value"), (None, b""), (b"", None)]):
        builder.append(number, 1_000 + number, key, value, [("h", b"x"), ("n", None)][:number])
    raw = bytes(builder.build())
    of = TopicPartition("t", 3), None, 0, None, None, True, 0
    ours = [*PartitionRecords(of[0], KeptRecords(raw), *of[1:])]
    theirs = [*UpstreamPartitionRecords(of[0], KeptRecords(raw), *of[1:])]
    assert [type(record) for record in theirs] == 3 * [ConsumerRecord]
    assert [msgspec.structs.asdict(record) for record in ours] == [dataclasses.asdict(record) for record in theirs]
    assert FetchedRecord.__struct_fields__ == tuple(field.name for field in dataclasses.fields(ConsumerRecord))


def test_a_fetch_is_handed_out_in_parts() -> None:
    """As many as are asked for, one alone, then the rest: none twice, none passed over, past a name that is no text."""
    partition, names = TopicPartition("t", 0), ["a", "b", "c", Name("d"), "e", "f"]
    records = PartitionRecords(partition, fetched(0, (0, names[:2]), (2, names[2:])), None, 0, None, None, True, 0)
    state = SimpleNamespace(paused=False, position=0)
    state.consumed_to = lambda offset: setattr(state, "position", offset)
    assignment = SimpleNamespace(active=True, state_value=lambda _partition: state)
    fetch = FetchResult(partition, assignment=assignment, partition_records=records, backoff=0)
    parts = [fetch.getall(1), [fetch.getone()], fetch.getall(2), fetch.getall(9)]
    assert [[record.offset for record in part] for part in parts] == [[0], [1], [2, 3], [4, 5]]
    assert state.position == 6


@pytest.mark.parametrize("function", RELIED_ON, ids=lambda function: str(function.__qualname__))
def test_upstream_has_not_changed_what_is_relied_on(function: Any) -> None:  # noqa: ANN401
    """Another digest means that aiokafka changed: read its change, run the tests above, then pin the new one."""
    assert hashlib.sha256(inspect.getsource(function).encode()).hexdigest() == RELIED_ON[function]
