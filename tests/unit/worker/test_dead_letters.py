"""Dead letters: the record as it came, the reason beside it, never too large for Kafka."""

from __future__ import annotations

from aiokafka.structs import ConsumerRecord

from stream.wire.dead_letters import letter_for, source_of
from stream.wire.decoding import Rejection
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
