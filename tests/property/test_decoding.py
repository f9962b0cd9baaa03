"""Whatever stands in a record, decoding answers with an event or a rejection."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, NoReturn

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from stream.settings import EventSettings
from stream.wire.decoding import ERROR_CODES, NOT_JSON, Decoder, Rejection
from stream.wire.messages import Event, Item, Request
from stream.wire.times import to_iso, to_milliseconds

DECODER = Decoder(EventSettings())
RECORDED = 1_795_449_840_000
FIELDS = (
    "user_id", "item_id", "event_type", "event_id", "timestamp", "session_id", "quantity", "price", "currency", "query",
    "recommendation_id", "context", "unheard_of", "request_id", "kind", "history", "count", "filters", "title",
)  # fmt: skip

finite = st.floats(allow_nan=False, allow_infinity=False)  # the others are no JSON
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | finite | text
documents = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3))
values = st.sampled_from(["u1", "click", "purchase", "2026-11-23T16:04:00Z", RECORDED]) | documents
objects = st.dictionaries(st.sampled_from(FIELDS), values)


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """An object's JSON with a piece cut out and some bytes put in."""
    value = json.dumps(draw(objects), ensure_ascii=draw(st.booleans())).encode()
    start = draw(st.integers(0, len(value)))
    end = draw(st.integers(start, min(len(value), start + 8)))
    return value[:start] + draw(st.binary(max_size=4)) + value[end:]


def is_json(value: bytes) -> bool:
    """RFC 8259 as Python reads it, less what Python adds to it."""

    def refuse(name: str) -> NoReturn:
        raise ValueError(name)

    try:
        json.dumps(json.loads(value.decode("utf-8"), parse_constant=refuse), ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # the encoding fails for half a surrogate pair, which is no text
        return False
    return True


class Recorded(msgspec.Struct):
    value: bytes | None
    timestamp: int | None = RECORDED


usual = st.fixed_dictionaries(
    {"user_id": st.sampled_from(["u", "", "é"]), "item_id": st.sampled_from(["i", "", "i" * 600, "\ud800"])},
    optional={
        "event_type": st.sampled_from(["click", "view", "sneeze"]),
        "event_id": st.sampled_from(["e", "", None]),
        "session_id": st.sampled_from(["s", "", None]),
        "timestamp": st.sampled_from([RECORDED, RECORDED + 10**9, 5, 1.5e12, "2026-11-23T16:04:00Z", "noon", None]),
        "context": st.sampled_from([None, {"page": "/"}, "none"]),
    },
).map(lambda fields: {"event_type": "click", **fields})
written = objects.map(json.dumps) | usual.map(json.dumps) | usual.map(lambda one: json.dumps({**one, "item_id": "i"}))
moments = st.sampled_from([RECORDED, None, -1])
recorded = st.builds(Recorded, st.none() | st.binary(max_size=50) | spoilt() | written.map(str.encode), moments)


@given(st.lists(recorded, max_size=5) | st.builds(Recorded, written.map(str.encode)).map(lambda one: [one]))
def test_many_records_are_decoded_as_each_alone(records: list[Recorded]) -> None:
    """What is looked at for all of them at once decides nothing else than each record's own decoding would."""
    alone = [DECODER.event(one.value, -1 if one.timestamp is None else one.timestamp) for one in records]
    assert DECODER.events(records) == alone


@given(st.binary(max_size=200) | spoilt() | objects.map(lambda value: json.dumps(value).encode()))
@example(b'{"user_id":1,')
@example(b'{"user_id":"u","item_id":"i","event_type":"click","price":Infinity}')
@example(b'{"user_id":"u","item_id":"i","event_type":"click","timestamp":' + b"1" * 5_000 + b"}")
def test_any_bytes_become_an_event_or_a_rejection(value: bytes) -> None:
    """Never an exception, on no topic; and a rejection has a code of the contract and says something."""
    for decoded, kind in (
        (DECODER.event(value, RECORDED), Event),
        (DECODER.item(value), Item),
        (DECODER.request(value), Request),
    ):
        if isinstance(decoded, Rejection):
            assert decoded.code in ERROR_CODES
            assert decoded.detail
            assert len(decoded.detail.encode()) < 2_000
        else:
            assert type(decoded) is kind


@given(st.binary(max_size=60) | spoilt())
@example(b'{"query": [1,], "a": 1}')
@example(b"\xef\xbb\xbf{}")
def test_not_json_is_said_of_exactly_what_is_not_json(value: bytes) -> None:
    """The oracle is Python's own reader."""
    decoded = DECODER.event(value, RECORDED)
    assert (isinstance(decoded, Rejection) and decoded.code == NOT_JSON) == (not is_json(value))


required = st.fixed_dictionaries(
    {
        "user_id": text.filter(bool),
        "item_id": text.filter(bool),
        "event_type": st.sampled_from(["click", "view", "cart", "buy", "dislike"]),
    },
    optional={
        "event_id": text.filter(bool),
        "quantity": st.integers(-9, 9),
        "price": st.floats(0, 1e6),
        "other": values,
    },
)


@given(required, st.integers(631_152_000_000, RECORDED))
def test_a_good_event_comes_through_unchanged(fields: dict[str, Any], timestamp: int) -> None:
    """Every good event is accepted, and its fields are those that were written."""
    decoded = DECODER.event(json.dumps(fields | {"timestamp": timestamp}).encode(), RECORDED)
    assert isinstance(decoded, Event)
    assert (decoded.user_id, decoded.item_id, decoded.timestamp) == (fields["user_id"], fields["item_id"], timestamp)
    assert (decoded.event_id, decoded.price) == (fields.get("event_id"), fields.get("price"))


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)))
def test_times_survive_the_way_to_text_and_back(moment: datetime) -> None:
    """To the millisecond, in every year that ISO 8601 writes with four digits."""
    milliseconds = to_milliseconds(moment.isoformat())
    assert milliseconds is not None
    assert to_milliseconds(to_iso(milliseconds)) == milliseconds
    assert to_iso(milliseconds)[:19] == moment.isoformat()[:19]
