"""Chunks: how records become messages, and what an acknowledged message acknowledges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from stream.worker.chunks import CHUNK, CHUNK_BYTES, ChunkConsumer, whole_fetches
from tests.records import record

ONE, OTHER = TP("fast", 0), TP("fast", 1)


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


def consumer(**state: object) -> Any:  # noqa: ANN401
    """A consumer that has been told no more than this."""
    made = ChunkConsumer.__new__(ChunkConsumer)
    made.__dict__.update(_holes={}, **state)
    return made


def chunk(tp: TP, *offsets: int) -> list[ConsumerRecord]:
    return [record(offset, {}, topic=tp.topic, partition=tp.partition) for offset in offsets]


def poll(monkeypatch: pytest.MonkeyPatch, *chunks: list[ConsumerRecord]) -> None:
    """What Faust would yield of one poll."""

    async def yielded(self: Any, _timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ANN401
        for one in chunks:
            tp = TP(one[0].topic, one[0].partition)
            yield tp, self._to_message(tp, one)

    monkeypatch.setattr(driver.Consumer, "getmany", yielded)


async def handed_over(given: Any) -> list[list[tuple[TP, int, int]]]:  # noqa: ANN401
    """The messages of a poll, each as its chunks' partition, first and last offset; takes note of what was read."""
    found = []
    async for tp, message in given.getmany(1.0):
        assert message.offset > given._read_offset[tp]  # or it would be dropped
        given._read_offset[tp] = message.offset
        assert (message.tp, message.offset) == (tp, message.value[0][-1].offset)
        found.append([(TP(one[0].topic, one[0].partition), one[0].offset, one[-1].offset) for one in message.value])
    return found


async def test_small_chunks_of_a_poll_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to so many records; the next ones begin another message, and all of them are known as read."""
    read = {ONE: None, OTHER: 4}
    given = consumer(app=SimpleNamespace(consumer_generation_id=3), _read_offset=read)
    large = range(9, 9 + CHUNK - 1)
    poll(monkeypatch, chunk(ONE, 0, 1), chunk(OTHER, 5), chunk(ONE, *large), chunk(OTHER, 6), chunk(OTHER, 7, 8))
    assert await handed_over(given) == [
        [(ONE, 0, 1), (OTHER, 5, 5)],
        [(ONE, 9, large[-1]), (OTHER, 6, 6)],
        [(OTHER, 7, 8)],
    ]
    assert read == {ONE: large[-1], OTHER: 8}


async def test_what_was_read_before_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Faust drops it; what stands beside it in the poll comes."""
    given = consumer(app=SimpleNamespace(consumer_generation_id=3), _read_offset={ONE: 7, OTHER: 4})
    poll(monkeypatch, chunk(ONE, 5, 6), chunk(OTHER, 5))
    assert await handed_over(given) == [[(OTHER, 5, 5)]]


def acknowledged(monkeypatch: pytest.MonkeyPatch, given: Any, *chunks: list[ConsumerRecord]) -> dict[TP, list[int]]:  # noqa: ANN401
    """Offsets by partition, after a message was acknowledged twice."""

    def book(self: Any, message: Any) -> bool:  # noqa: ANN401
        if message.acked:
            return False
        message.acked = True
        self._acked[message.tp].append(message.offset)
        return True

    monkeypatch.setattr(driver.Consumer, "ack", book)
    first = chunks[0]
    tp = TP(first[0].topic, first[0].partition)
    message = SimpleNamespace(tp=tp, value=[*chunks], offset=first[-1].offset, acked=False)
    assert [given.ack(message), given.ack(message)] == [True, False]
    return {tp: sorted(offsets) for tp, offsets in given._acked.items()}


def test_a_message_is_acknowledged_with_all_its_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust books the last offset of the first chunk; all others, and those of holes before chunks, are added, once."""
    given = consumer(_acked=defaultdict(list), _acked_index=defaultdict(set), _committed_offset={ONE: 3, OTHER: None})
    given.pass_over(ONE, 3, 5)
    given.pass_over(OTHER, 0, 2)
    found = acknowledged(monkeypatch, given, chunk(ONE, 5, 6, 9), chunk(OTHER, 2, 4))
    assert found == {ONE: [3, 4, 5, 6, 7, 8, 9], OTHER: [0, 1, 2, 3, 4]}
    assert given._acked_index[OTHER] == {4}


def test_what_is_committed_already_is_not_acknowledged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay of one partition beside news of another one."""
    given = consumer(_acked=defaultdict(list), _acked_index=defaultdict(set), _committed_offset={ONE: 5, OTHER: 9})
    assert acknowledged(monkeypatch, given, chunk(ONE, 5), chunk(OTHER, 2, 4)) == {ONE: [5]}


async def test_where_a_partition_resumed_outlives_the_beginning_of_a_rebalance() -> None:
    """Faust forgets what is committed the moment partitions are revoked, with chunks of theirs still to be looked at:
    the first one would look as if everything before it had been skipped, and the worker would end for it.
    """
    tp = TP("events", 0)

    async def seek_to_committed() -> dict[TP, int]:
        return {tp: 51}

    given = consumer(_read_offset={}, _committed_offset={}, seek_to_committed=seek_to_committed)
    await given.perform_seek()
    given._committed_offset.pop(tp)  # as `Consumer.on_partitions_revoked` does first
    assert (given.resumed_at(tp), given.resumed_at(TP("events", 1))) == (51, None)
