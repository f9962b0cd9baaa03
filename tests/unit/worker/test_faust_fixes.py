"""The changes to Faust's behaviour: pinned to the source they were written against, and what each does."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.cluster import ClusterMetadata
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream.settings import Settings
from stream.worker import faust_fixes
from stream.worker.app import build_app
from stream.worker.faust_fixes import (
    CHUNK,
    CHUNK_BYTES,
    PATCHED,
    UnknownFaustError,
    check_version,
    source_digest,
    whole_fetches,
)


@pytest.mark.parametrize("function", PATCHED, ids=lambda function: str(function.__qualname__))
def test_upstream_has_not_changed_what_is_overridden(function: Callable[..., Any]) -> None:
    """Another digest means that upstream changed: read its change, run tests/crash, then pin the new one."""
    assert source_digest(function) == PATCHED[function]


def test_another_faust_is_refused_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An untested release ends the worker with what to do, and runs where the setting says so."""
    check_version(allow_other=False)
    monkeypatch.setattr(faust_fixes, "version", lambda _name: "0.16.0")
    with pytest.raises(UnknownFaustError, match=r"0\.16\.0 is installed.*worker\.allow_other_faust"):
        check_version(allow_other=False)
    check_version(allow_other=True)


def sized(size: int) -> Any:  # noqa: ANN401
    return SimpleNamespace(serialized_value_size=size)


def test_large_records_come_in_short_lists() -> None:
    """A thousand lists wait in memory: none is larger than so many bytes, unless one record is."""
    sizes = [CHUNK_BYTES // 4] * 6 + [10, 3 * CHUNK_BYTES, 10, CHUNK_BYTES, 5]
    batch = [sized(size) for size in sizes]
    given = [lot for _, lot in whole_fetches(frozenset({"fast"}))().iterate({TP("fast", 0): batch})]
    assert [record for lot in given for record in lot] == batch
    assert [len(lot) for lot in given] == [4, 3, 1, 1, 1, 1]


def test_records_come_in_lists_round_robin_and_lose_nothing() -> None:
    """Each partition's records stay in order, no list is longer than a chunk, and partitions take turns."""
    busy, calm, other = TP("fast", 0), TP("fast", 1), TP("slow", 0)
    records = {busy: [sized(10)] * (2 * CHUNK + 3), calm: [sized(7), sized(-1)], other: ["a", "b"]}
    given = list(whole_fetches(frozenset({"fast"}))().iterate(records))
    fast = [(tp, batch) for tp, batch in given if tp.topic == "fast"]
    assert [tp for tp, _ in fast] == [busy, calm, busy, busy]
    assert [record for tp, batch in fast if tp == busy for record in batch] == records[busy]
    assert [record for tp, record in given if tp == other] == ["a", "b"]
    assert max(len(batch) for _, batch in fast) == CHUNK


def test_a_chunk_is_acknowledged_with_all_its_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust books the last offset; the others of the chunk and those of a hole before it are added, once."""
    tp = TP("fast", 0)
    consumer = SimpleNamespace(_acked={tp: []}, _holes={(tp, 5): 3})
    outcomes = iter([True, False])

    def book(self: Any, message: Any) -> bool:  # noqa: ANN401
        done = next(outcomes)
        if done:
            self._acked[tp].append(message.offset)
        return done

    monkeypatch.setattr(driver.Consumer, "ack", book)
    chunk = [SimpleNamespace(offset=offset) for offset in (5, 6, 9)]
    message = SimpleNamespace(tp=tp, value=chunk, offset=9)
    for _ in range(2):
        ack(consumer, message)
    assert sorted(consumer._acked[tp]) == [3, 4, 5, 6, 7, 8, 9]


def ack(consumer: SimpleNamespace, message: SimpleNamespace) -> None:
    real = faust_fixes.ChunkConsumer.__new__(faust_fixes.ChunkConsumer)
    real.__dict__.update(consumer.__dict__)
    real.ack(message)


async def test_where_a_partition_resumed_outlives_the_beginning_of_a_rebalance() -> None:
    """Faust forgets what is committed the moment partitions are revoked, with chunks of theirs still to be looked at:
    the first one would look as if everything before it had been skipped, and the worker would end for it.
    """
    tp = TP("events", 0)

    async def seek_to_committed() -> dict[TP, int]:
        return {tp: 51}

    consumer: Any = faust_fixes.ChunkConsumer.__new__(faust_fixes.ChunkConsumer)
    consumer.__dict__.update(_read_offset={}, _committed_offset={}, seek_to_committed=seek_to_committed)
    await consumer.perform_seek()
    consumer._committed_offset.pop(tp)  # as `Consumer.on_partitions_revoked` does first
    assert (consumer.resumed_at(tp), consumer.resumed_at(TP("events", 1))) == (51, None)


def test_partitions_are_shared_by_a_leader_that_has_heard_of_no_topic() -> None:
    """A client that has just connected knows no topic: two members get all partitions of each all the same."""
    settings = Settings()
    app = build_app(settings, "http://here")
    topics = {"alluvium.events", "alluvium.requests"}
    members = {name: app.assignor.metadata(topics) for name in ("one", "other")}
    shared = app.assignor.assign(ClusterMetadata(), members)
    for topic in topics:
        found = [
            number for one in shared.values() for name, numbers in one.assignment if name == topic for number in numbers
        ]
        assert sorted(found) == [*range(settings.kafka.partitions)]
