"""Dead letters: the record as it came, the reason beside it, never too large for Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import ConsumerRecord

from stream.letter_writer import BadRecord
from stream.wire.dead_letters import letter_for, source_of
from stream.wire.decoding import Rejection
from stream.worker.dead_letters import Desk
from tests.records import record

LIMIT = 10_000
WHY = Rejection("not_json", "half a surrogate: \ud800")


def written(bad: ConsumerRecord, limit: int = LIMIT) -> ConsumerRecord:
    """The letter as it stands in the topic."""
    letter = letter_for(bad, WHY, limit)
    return record(0, letter.value, letter.key, topic="dead-letters", headers=tuple(letter.headers))


def test_a_letter_is_the_record_and_three_headers() -> None:
    """Key, value and headers are the original's, byte for byte; ours come behind them."""
    letter = letter_for(record(7, b"\xff{", b"\x00k", 3, "a-b", headers=(("trace", b"1"), ("none", None))), WHY, LIMIT)
    assert (letter.key, letter.value) == (b"\x00k", b"\xff{")
    assert letter.headers == [
        ("trace", b"1"), ("none", None), ("alluvium-error", b"not_json"), ("alluvium-detail", b"half a surrogate: ?"),
        ("alluvium-source", b"a-b-3-7"),
    ]  # fmt: skip


def test_the_source_reads_back_even_of_a_letter_of_a_letter() -> None:
    """The last of our headers counts, also where a dead letter was fed back in; others have no source."""
    first = written(record(7, b"{", None, 3, "shop.a-b"))
    again = record(9, first.value, partition=1, topic="events", headers=first.headers)
    assert source_of(first) == ("shop.a-b", 3, 7)
    assert source_of(written(again)) == ("events", 1, 9)
    assert source_of(record(0, b"x")) is None
    assert source_of(record(0, b"x", headers=(("alluvium-source", b"nonsense"),))) is None


def test_what_kafka_would_not_take_is_cut_and_says_so() -> None:
    """Value, key and headers are cut so that the letter fits; `alluvium-truncated` tells the original size."""
    monster = record(1, b"v" * 50_000, b"k" * 50_000, headers=(("h", b"x" * 50_000),))
    letter = letter_for(monster, WHY, LIMIT)
    size = len(letter.value or b"") + len(letter.key or b"") + sum(len(value or b"") for _, value in letter.headers)
    assert size < LIMIT
    assert dict(letter.headers)["alluvium-truncated"] == b"the original has 50000 bytes and a key of 50000"
    assert source_of(written(monster)) == ("events", 0, 1)


class Writer:
    """Writes for as long as it is held, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.failures, self.held, self.written = failures, asyncio.Event(), list[list[int]]()

    async def write(self, bad: Sequence[BadRecord]) -> list[BadRecord]:
        await self.held.wait()
        if self.failures:
            self.failures -= 1
            raise KafkaConnectionError("refused")
        self.written.append([one.offset for one, _ in bad])
        return list(bad)

    async def close(self) -> None: ...


def bad(*offsets: int) -> list[BadRecord]:
    return [(record(offset, b"{"), WHY) for offset in offsets]


def test_letters_that_come_meanwhile_go_together_and_in_order() -> None:
    """Three micro-batches' letters come while the first one's are written: those of the other two are one writing."""

    async def story() -> None:
        writer = Writer()
        desk = Desk(writer)
        writing = [asyncio.create_task(desk.write(bad(*offsets))) for offsets in ((1, 4), (6,), (7, 9))]
        await asyncio.sleep(0.01)
        assert not any(one.done() for one in writing)
        writer.held.set()
        await asyncio.gather(*writing)
        assert writer.written == [[1, 4], [6, 7, 9]]

    asyncio.run(story())


def test_letters_that_were_refused_are_not_taken_for_written() -> None:
    """Who began is told; who waited behind it writes them before its own."""

    async def story() -> None:
        writer = Writer(failures=1)
        desk = Desk(writer)
        first, second = (asyncio.create_task(desk.write(bad(offset))) for offset in (1, 2))
        writer.held.set()
        await second
        with pytest.raises(KafkaConnectionError):
            await first
        assert writer.written == [[1, 2]]

    asyncio.run(story())
