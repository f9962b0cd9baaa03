"""The changes to Faust's behaviour: pinned to the source they were written against, and what each does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP, ConsumerMessage

from stream.worker import faust_fixes
from stream.worker.faust_fixes import (
    PATCHED,
    ChunkConsumer,
    UnknownFaustError,
    check_version,
    source_digest,
)
from stream.worker.fetches import Fetched


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


def consumer_of(**state: Any) -> ChunkConsumer:  # noqa: ANN401
    """A consumer that has just what Faust books by."""
    real = ChunkConsumer.__new__(ChunkConsumer)
    books = {"_acked": defaultdict(list), "_acked_index": defaultdict(set), "_committed_offset": defaultdict(int)}
    real.__dict__.update(books, _unacked_messages=set(), _n_acked=0, _waiting_for_ack=None, _holes={}, **state)
    return real


def records(*offsets: int) -> list[Any]:
    return [
        SimpleNamespace(topic="fast", partition=0, offset=offset, timestamp=0, timestamp_type=0) for offset in offsets
    ]


def test_a_message_is_acknowledged_with_all_its_offsets() -> None:
    """Those of every partition and of a hole before the first one, once; what is committed already is not booked."""
    one, two, old = TP("fast", 0), TP("fast", 1), TP("fast", 2)
    consumer = consumer_of()
    consumer.pass_over(one, 3, 5)
    consumer._committed_offset[old] = 9
    fetched = Fetched([(one, records(5, 6, 9)), (two, records(0)), (old, records(7, 8))])
    message = ConsumerMessage("fast", 0, 9, 0.0, 0, (), None, fetched, None, 0, 0, one)
    consumer._unacked_messages.add(message)
    assert [message.ack(consumer) for _ in range(2)] == [True, False]
    assert not consumer._unacked_messages
    assert consumer._acked == {one: [3, 4, 5, 6, 7, 8, 9], two: [0]}
    assert {tp: last for tp, last in consumer._acked_index.items() if last} == {one: {9}, two: {0}}


def test_partitions_that_are_not_ours_any_more_are_left_out_of_a_message() -> None:
    """Of a poll that was in flight while they were revoked; and no message is booked as a gap of a compacted topic."""
    ours, busy, lost = TP("fast", 0), TP("fast", 1), TP("fast", 2)
    app = SimpleNamespace(consumer_generation_id=3)
    consumer = consumer_of(
        app=app, _active_partitions={ours}, _buffered_partitions={busy}, _read_offset={ours: 2, busy: 1, lost: 1}
    )
    fetched = Fetched([(ours, records(3, 4)), (busy, records(2)), (lost, records(2))])
    message = consumer._to_message(ours, fetched)
    assert [tp for tp, _ in message.value] == [ours, busy]
    assert (message.tp, message.offset, message.generation_id) == (ours, 4, 3)
    assert consumer._read_offset == {ours: 3, busy: 2, lost: 1}
