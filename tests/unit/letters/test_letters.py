"""Letters as JSON and back, byte for byte, and what replaying does to an event."""

from __future__ import annotations

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stream.letters.reading import Letter, Line, Wanted, as_line, letter_of, read_repaired, repair
from stream.letters.replaying import check, home, identified
from stream.settings import EventSettings, KafkaSettings
from stream.wire.decoding import Decoder
from stream.wire.partitioner import murmur2_partition
from tests.records import record

CLICK = b'{"user_id": "u", "item_id": "i", "event_type": "click", "x": 1.50}'
octets = st.none() | st.binary(max_size=20)


def letter(value: bytes | None, key: bytes | None = b"u", topic: str = "alluvium.events") -> Letter:
    return Letter(topic, 3, 17, 1_000, "not_json", "why", False, key, value, [])


@given(octets, octets, st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=3))
def test_what_is_printed_is_read_back(key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    """Any bytes survive the way through a line of JSON, those that are no text too."""
    bad = letter(value, key)._replace(headers=[pair for pair in headers if not pair[0].startswith("alluvium-")])
    line = read_repaired([msgspec.json.encode(as_line(bad))])[bad.source]
    assert repair(bad, line) == bad


def test_a_letter_is_read_from_its_headers() -> None:
    """Ours are told apart from the record's own; of two of one name the last, which is ours, counts."""
    headers = (
        ("trace", b"t"), ("alluvium-source", b"forged-0-0"), ("alluvium-error", b"not_json"),
        ("alluvium-detail", b"why"), ("alluvium-source", b"a-b-3-7"),
    )  # fmt: skip
    found = letter_of(record(0, b"{", b"k", topic="dead-letters", headers=headers))
    assert found is not None
    assert (found.source, found.reason, found.detail, found.cut) == ("a-b-3-7", "not_json", "why", False)
    assert (found.key, found.value, found.headers) == (b"k", b"{", [("trace", b"t")])
    assert letter_of(record(0, b"{", b"k", topic="dead-letters")) is None


def test_filters_leave_out_each_by_itself() -> None:
    """Reason, topic, partition and both ends of time; none of them leaves out nothing."""
    bad = letter(b"{")
    assert Wanted().has(bad)
    assert Wanted(["not_json"], [bad.topic], 1_000, 1_000, [3]).has(bad)
    for other in (
        Wanted(["too_large"]), Wanted(topics=["items"]), Wanted(since=1_001), Wanted(until=999), Wanted(partitions=[1]),
    ):  # fmt: skip
        assert not other.has(bad)


def test_an_event_gets_the_id_and_the_time_it_had_by_default() -> None:
    """Its source, and when its letter was written; what it says itself stays, and so does what is no object."""
    given_id = b'{"event_id": "e", "timestamp": 5}'
    assert json.loads(identified(letter(CLICK)) or b"") == {
        **json.loads(CLICK), "event_id": "alluvium.events-3-17", "timestamp": 1_000,
    }  # fmt: skip
    assert json.loads(identified(letter(b'{"event_id": null}')) or b"")["event_id"] == "alluvium.events-3-17"
    assert identified(letter(given_id)) == given_id
    for value in (b"{", b"[]", b"\xff", None):
        assert identified(letter(value)) == value


def test_a_letter_is_checked_as_a_message_of_its_topic() -> None:
    """An event is no request, and a topic of somebody else's takes nothing."""
    decoder, kafka = Decoder(EventSettings()), KafkaSettings()
    assert check(letter(CLICK), kafka, decoder, 10**12) is None
    for topic, code in (("alluvium.requests", "missing_field"), ("secrets", "not_json")):
        problem = check(letter(CLICK, topic=topic), kafka, decoder, 10**12)
        assert problem is not None
        assert problem.code == code
    assert check(letter(None, topic="alluvium.items"), kafka, decoder, 0) is None


def test_a_letter_goes_to_the_partition_of_its_key() -> None:
    """Where the shop's partitioner is not known, or there is no key, it goes to where it was."""
    kafka = KafkaSettings()
    assert home(letter(CLICK), kafka, 8) == murmur2_partition(b"u", 8)
    assert home(letter(CLICK, key=None), kafka, 8) == 3
    assert home(letter(CLICK), msgspec.structs.replace(kafka, partitioner="any"), 8) == 3


def test_a_line_needs_its_source_alone() -> None:
    """Everything else has a default: a tombstone without a key."""
    assert read_repaired([b'{"source": "a-0-1"}\n', b"\n"]) == {"a-0-1": Line("a-0-1")}
