"""What is fetched at once: whole polls, bounded, and gathered at the broker while events come."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import Fetcher
from faust.types import TP

from stream.worker.fetches import (
    FETCH_WAIT_MILLISECONDS,
    GATHER_BYTES,
    GATHER_MILLISECONDS,
    MESSAGE,
    MESSAGE_BYTES,
    GatheringFetcher,
    whole_fetches,
)


def sized(size: int) -> Any:  # noqa: ANN401
    return SimpleNamespace(serialized_value_size=size)


def test_what_a_poll_brings_comes_together_and_loses_nothing() -> None:
    """Each partition's records stay in order, partitions share the room of a message, other topics come singly."""
    busy, calm, other = TP("fast", 0), TP("fast", 1), TP("slow", 0)
    records = {busy: [sized(10) for _ in range(2 * MESSAGE)], calm: [sized(7), sized(-1)], other: ["a", "b"]}
    given = list(whole_fetches(frozenset({"fast"}))().iterate(records))
    fast = [fetched for tp, fetched in given if tp.topic == "fast"]
    assert [[tp for tp, _ in fetched] for fetched in fast] == [[busy, calm], [busy], [busy]]
    assert [record for fetched in fast for tp, batch in fetched if tp == busy for record in batch] == records[busy]
    assert [record for tp, record in given if tp == other] == ["a", "b"]
    assert max(sum(len(batch) for _, batch in fetched) for fetched in fast) == MESSAGE
    assert fast[0][1] == (calm, records[calm])


def test_large_records_come_in_small_messages() -> None:
    """Some dozens of messages wait in memory: none is larger than so many bytes, unless one record is."""
    sizes = [MESSAGE_BYTES // 4] * 6 + [10, 3 * MESSAGE_BYTES, 10, MESSAGE_BYTES, 5]
    batch = [sized(size) for size in sizes]
    given = [fetched for _, fetched in whole_fetches(frozenset({"fast"}))().iterate({TP("fast", 0): batch})]
    assert [record for ((_, part),) in given for record in part] == batch
    assert [len(part) for ((_, part),) in given] == [4, 3, 1, 1, 1, 1]


def test_what_had_no_room_in_a_message_is_first_in_the_next() -> None:
    """A message ends once it is full; nobody waits for long behind a partition of large records."""
    large, small = TP("fast", 0), TP("fast", 1)
    records = {large: [sized(2 * MESSAGE_BYTES)] * 2, small: [sized(1)]}
    given = [fetched for _, fetched in whole_fetches(frozenset({"fast"}))().iterate(records)]
    assert [[tp for tp, _ in fetched] for fetched in given] == [[large], [small, large]]


def test_a_fetch_gathers_only_while_something_comes() -> None:
    """After an answer with records the next one may wait for more, after an empty one it ends with the first record."""
    answers = iter([True, False])

    async def answered(_self: Fetcher, *_request: object) -> bool:
        return next(answers)

    async def waits() -> list[tuple[int, int]]:
        fetcher, seen = GatheringFetcher.__new__(GatheringFetcher), []
        for _ in range(2):
            await fetcher._proc_fetch_request(None, 0, None)
            seen.append((fetcher._fetch_min_bytes, fetcher._fetch_max_wait_ms))
        return seen

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(Fetcher, "_proc_fetch_request", answered)
        assert asyncio.run(waits()) == [(GATHER_BYTES, GATHER_MILLISECONDS), (1, FETCH_WAIT_MILLISECONDS)]
