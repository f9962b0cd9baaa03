"""Whatever a message is, it is taken or refused, always alike; and what is taken can be worked with to the end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord
from hypothesis import example, given
from hypothesis import strategies as st

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.popularity import LivePopularity
from stream.knowledge.serving import Serving
from stream.queries import ScoredEvents
from stream.settings import EventSettings, Settings
from stream.state.row import decode_state, encode_state
from stream.wire.dead_letters import letter_for, original_headers, source_of
from stream.wire.decoding import ERROR_CODES, Decoder, Rejection
from stream.wire.messages import Event, Item, Request
from stream.wire.partitioner import murmur2_partition
from stream.wire.times import to_iso
from stream.worker.answers import Answers, Version
from stream.worker.batch import Chunk, decode, fold
from stream.worker.requests import LARGEST_ANSWER, REPLY_KEY, REPLY_PARTITION, Requests
from tests.answering import reply_to
from tests.property.messages import RECORDED, anything, good
from tests.records import record

DECODER = Decoder(EventSettings())
PARTITIONS = 4
KINDS: dict[str, type[Event] | type[Item] | type[Request]] = {"event": Event, "item": Item, "request": Request}
LISTED = {
    "recommendation_id", "kind", "user_id", "request_id", "items", "provenance", "event_timestamp", "generated_at",
    "fallback",
}  # fmt: skip
octets = st.none() | st.binary(max_size=12) | st.sampled_from([b"u1", b"k" * 70_000, b"\xff\xfe", b""])
header_names = [REPLY_KEY, REPLY_PARTITION, "alluvium-source", "alluvium-truncated", "trace", "", "\x00"]
numbers = st.integers(-9, 99).map(lambda number: str(number).encode())
headers = st.lists(st.tuples(st.sampled_from(header_names), octets | numbers), max_size=4)
times = st.integers(-1, 2**63 - 1) | st.just(RECORDED)


def taken(kind: str, value: bytes | None) -> Event | Item | Request | Rejection:
    if kind == "event":
        return DECODER.event(value, RECORDED)
    return DECODER.request(value) if kind == "request" else DECODER.item(value or b"")


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_good_message_is_taken(kind: str, data: st.DataObject) -> None:
    """However odd its texts and however extreme its numbers, within the contract."""
    assert type(taken(kind, data.draw(good(kind)))) is KINDS[kind]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_any_message_is_taken_or_refused_always_alike(kind: str, data: st.DataObject) -> None:
    """A code of the contract and a sentence that can be written, and another decoder says the same."""
    value = data.draw(anything(kind))
    decoded = taken(kind, value)
    assert decoded == taken(kind, value)
    if isinstance(decoded, Rejection):
        assert decoded.code in ERROR_CODES
        assert decoded.detail
        assert len(decoded.detail.encode(errors="replace")) < 2_000
    else:
        assert type(decoded) is KINDS[kind]


@given(st.lists(anything("event") | good("event"), max_size=6), times)
def test_events_that_are_taken_can_be_folded_and_stored(values: list[bytes], timestamp: int) -> None:
    """As a worker does it; the row reads back as the state that it was written from."""
    records = [record(offset, value, b"k", timestamp=timestamp) for offset, value in enumerate(values)]
    decoded = decode([Chunk("events", 0, records)], DECODER)
    touched = fold(decoded, lambda _partition, _user: None, ScoredEvents.of(Settings()))
    assert sum(len(user.events) for user in touched) + len(decoded.dead) == len(values)
    for user in touched:
        assert decode_state(encode_state(user.state)) == user.state
        assert [to_iso(moment) for moment in user.state.times]


@given(st.lists(st.tuples(octets, anything("item") | good("item") | st.none()), max_size=6))
@example([(None, b'{"item_id": "i", "published_at": 1' + b"0" * 30 + b"}")])
@example([(None, b'{"item_id": "i", "published_at": 1e300}')])
def test_items_that_are_taken_stand_in_the_catalogue(records: list[tuple[bytes | None, bytes | None]]) -> None:
    """What is kept of them reads back, and everything that lists ask of a catalogue can be asked."""
    catalogue, known = Catalogue(), dict[str, Item | None]()
    for offset, (key, value) in enumerate(records):
        entry = DECODER.catalogue_entry(key, value)
        if not isinstance(entry, Rejection):
            catalogue.apply(0, offset, *entry)
            known[entry[0]] = entry[1]
    assert {item_id: catalogue.get(item_id) for item_id in known} == known
    assert len(catalogue) == len(list(catalogue.items())) == sum(item is not None for item in known.values())
    catalogue.features(known, 64)
    catalogue.categories(known)


@given(anything("request") | good("request"), octets, headers, times)
def test_a_request_is_answered_forwarded_or_dead(
    value: bytes, key: bytes | None, given_headers: list[tuple[str, bytes | None]], timestamp: int
) -> None:
    """Never two of them, but for a dead one that can be told so; answers are JSON with the contract's fields, of a
    size that Kafka takes, on a partition that exists.
    """
    asked = record(5, value, key, 1, "requests", timestamp, tuple(given_headers))
    replied = replies_to(asked)
    assert len(replied.replies) + len(replied.forwards) <= 1
    assert len(replied.replies) + len(replied.forwards) + len(replied.dead) >= 1
    for reply in replied.replies:
        answer = strict_json(reply.made.value)
        assert answer.keys() - {"error"} == LISTED
        assert bool(replied.dead) <= ("error" in answer)
        assert len(reply.made.value) + len(reply.key) <= LARGEST_ANSWER + 70_000
        assert 0 <= reply.partition < PARTITIONS
    for forward in replied.forwards:
        again = record(6, forward.value, forward.key, forward.partition, "requests", timestamp, tuple(forward.headers))
        assert [len(part) for part in replies_to(again)] == [1, 0, 0]
    assert replies_to(asked) == replied


@given(st.none() | st.binary(max_size=40), octets, headers)
def test_a_letter_holds_what_came(
    value: bytes | None, key: bytes | None, given_headers: list[tuple[str, bytes | None]]
) -> None:
    """Value, key and headers, byte for byte and in order, and the source is ours whatever the record claims."""
    bad = record(9, value, key, 2, "events", headers=tuple(given_headers))
    letter = letter_for(bad, Rejection("not_json", "why"), 1 << 20)
    assert (letter.key, letter.value, letter.headers[:-3]) == (key, value, original_headers(bad)) == (
        key, value, given_headers,
    )  # fmt: skip
    assert source_of(record(0, value, key, 2, "dead-letters", headers=tuple(letter.headers))) == ("events", 2, 9)


def replies_to(asked: ConsumerRecord) -> Any:  # noqa: ANN401
    popularity = LivePopularity()
    popularity.observe(["a", "b\x01", "c"])
    requests = Requests(DECODER, murmur2_partition, PARTITIONS, "events")
    answers = Answers(Version("a1", None, ((0, 3),), "s", 7), "now")
    serving = Serving(None, Catalogue(), popularity)
    return reply_to(requests, [Chunk("requests", asked.partition, [asked])], serving, answers, lambda _at, _user: None)


def strict_json(value: bytes) -> dict[str, Any]:
    """RFC 8259: no NaN, no half of a surrogate pair."""

    def refuse(name: str) -> Any:  # noqa: ANN401
        raise AssertionError(name)

    read = json.loads(value.decode(), parse_constant=refuse)
    json.dumps(read, ensure_ascii=False).encode()
    return dict(read)
