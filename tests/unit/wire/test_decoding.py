"""From bytes to an event, an item, a request, or a rejection with the contract's code."""

from __future__ import annotations

import json

import pytest

from stream.settings import EventSettings
from stream.wire.decoding import ERROR_CODES, Decoder, Rejection
from stream.wire.event_types import EventType
from stream.wire.messages import Event, Item, Request

RECORDED = 1_795_449_840_000  # 2026-11-23T16:04:00Z, the Kafka record's own time
DECODER = Decoder(EventSettings())


def event(**changes: object) -> Event | Rejection:
    """Decodes a good event with some fields changed; `...` leaves a field out."""
    fields: dict[str, object] = {"user_id": "u17", "item_id": "85123A", "event_type": "purchase"}
    fields |= changes
    return DECODER.event(json.dumps({k: v for k, v in fields.items() if v is not ...}).encode(), RECORDED)


def code(decoded: object) -> str:
    assert isinstance(decoded, Rejection), decoded
    assert decoded.detail
    return decoded.code


def test_the_example_of_the_contract() -> None:
    """Text times become epoch milliseconds, numbers stay, everything else is as written."""
    value = (
        b'{"user_id": "u17", "item_id": "85123A", "event_type": "purchase", "timestamp": "2026-11-23T16:04:00Z",'
        b' "quantity": 6, "price": 2.55}'
    )
    assert DECODER.event(value, -1) == Event("u17", "85123A", "purchase", RECORDED, quantity=6, price=2.55)


def test_what_is_not_required_may_be_missing_or_null() -> None:
    """The timestamp is then the record's; unknown fields are ignored, whatever they hold."""
    plain = Event("u17", "85123A", "purchase", RECORDED)
    assert event() == plain
    assert event(event_id=None, timestamp=None, session_id=None, context=None, price=None) == plain
    assert event(unheard_of={"deep": [1, {"er": None}]}, loss=1.5) == plain


def test_aliases_become_the_canonical_name() -> None:
    """The contract's aliases, and those of a shop's own table."""
    aliases = {"view": "click", "pageview": "click", "addtocart": "cart", "add_to_cart": "cart"}
    aliases |= {"transaction": "purchase", "buy": "purchase", "order": "purchase"}
    for alias, canonical in aliases.items():
        decoded = event(event_type=alias)
        assert isinstance(decoded, Event)
        assert decoded.event_type == canonical
    own = Decoder(EventSettings(types=(EventType("listen", 1.0, ["play"]),)))
    decoded = own.event(b'{"user_id":"u","item_id":"i","event_type":"play"}', RECORDED)
    assert isinstance(decoded, Event)
    assert decoded.event_type == "listen"
    assert code(own.event(b'{"user_id":"u","item_id":"i","event_type":"click"}', RECORDED)) == "unknown_event_type"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", "not_json"),
        (b"click,u1,i1", "not_json"),
        (b"\x00\xff\xfe\x80binary noise", "not_json"),
        (b'{"user_id": "u1", "item_id": "i1"', "not_json"),
        (b'{"user_id": "u1", "item_id": "i1", "event_type": "click"} {}', "not_json"),
        (b'{"user_id": "u\xff1", "item_id": "i1", "event_type": "click"}', "not_json"),
        (b'{"user_id": "u1", "item_id": "i1", "event_type": "click", "other": "\xff"}', "not_json"),
        (b'{"user_id": 5, "item_id": "i1", "event_type": "click', "not_json"),  # a wrong type before the broken end
        (b'{"user_id": "\\ud800", "item_id": "i1", "event_type": "click"}', "not_json"),
        (b'{"user_id": "u1", "item_id": "i1", "event_type": "click", "timestamp": NaN}', "not_json"),
        (b"null", "wrong_type"),
        (b"[]", "wrong_type"),
        (b"17", "wrong_type"),
        (b'"click"', "wrong_type"),
        (b"[" * 20_000 + b"]" * 20_000, "wrong_type"),
        (
            b'{"user_id":"u","item_id":"i","event_type":"click","x":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
            "wrong_type",
        ),
        (b"{}", "missing_field"),
        (None, "tombstone"),
        (b" " * 65_537, "too_large"),
    ],
)
def test_what_is_no_event_at_all(value: bytes | None, expected: str) -> None:
    """Each kind of noise has its code, and none raises."""
    assert code(DECODER.event(value, RECORDED)) == expected


@pytest.mark.parametrize("field", ["user_id", "item_id", "event_type"])
def test_required_fields(field: str) -> None:
    """Left out or empty is missing; a number, a list or null is the wrong type."""
    assert code(event(**{field: ...})) == "missing_field"
    for wrong in (17, None, ["u1"], {"id": "u1"}, True):
        assert code(event(**{field: wrong})) == "wrong_type"
    assert code(event(**{field: ""})) == ("unknown_event_type" if field == "event_type" else "missing_field")


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": "6"}, {"price": "2.55"}, {"session_id": 4}, {"event_id": 4}, {"context": [1]},
        {"context": {"deep": {"er": 1}}}, {"query": 1}, {"currency": 1}, {"recommendation_id": 1}, {"timestamp": True},
        {"timestamp": [1]}, {"timestamp": "yesterday"}, {"timestamp": ""}, {"timestamp": "1795449840000"},
        {"timestamp": "2026-13-01T00:00:00Z"},
    ],
)  # fmt: skip
def test_wrong_types_of_optional_fields(changes: dict[str, object]) -> None:
    """A known field of another type is refused, never guessed at."""
    assert code(event(**changes)) == "wrong_type"


def test_sizes() -> None:
    """An id of 512 bytes is taken and one of 513 not, in bytes of UTF-8; a million characters are too large."""
    assert isinstance(event(item_id="i" * 512), Event)
    assert isinstance(event(item_id="é" * 256), Event)
    assert code(event(item_id="i" * 513)) == "too_large"
    assert code(event(item_id="é" * 257)) == "too_large"
    assert code(event(user_id="u" * 513)) == "too_large"
    assert code(event(item_id="i" * 1_000_000)) == "too_large"
    assert code(event(event_id="e" * 513)) == "too_large"
    assert code(event(session_id="")) == "missing_field"


@pytest.mark.parametrize(
    ("timestamp", "milliseconds"),
    [
        ("2026-11-23T16:04:00Z", RECORDED),
        ("2026-11-23T16:04:00", RECORDED),
        ("2026-11-23T18:04:00+02:00", RECORDED),
        ("2026-11-23 16:04:00.123456Z", RECORDED + 123),
        ("2026-11-23", RECORDED - (16 * 60 + 4) * 60_000),
        (RECORDED, RECORDED),
        (RECORDED + 0.9, RECORDED),
        ("1990-01-01T00:00:00Z", 631_152_000_000),
        (RECORDED + 86_400_000, RECORDED + 86_400_000),
    ],
)
def test_timestamps(timestamp: str | float, milliseconds: int) -> None:
    """ISO 8601 with a zone, or UTC without one, and epoch milliseconds."""
    decoded = event(timestamp=timestamp)
    assert isinstance(decoded, Event)
    assert decoded.timestamp == milliseconds


@pytest.mark.parametrize(
    "timestamp",
    [
        "1989-12-31T23:59:59Z", "2126-11-23T16:04:00Z", 0, -1, 1_795_449_840, RECORDED + 86_400_001, 10**19, 10**30,
        10**400, 1e300, -(10**400), "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
    ],
)  # fmt: skip
def test_timestamps_out_of_range(timestamp: str | float) -> None:
    """Decades off, seconds for milliseconds, more than a day ahead of the record, and numbers of any size."""
    assert code(event(timestamp=timestamp)) == "timestamp_out_of_range"


def test_a_record_without_a_time_bounds_nothing() -> None:
    """Kafka's -1 says that a record has no time: then the event's must be given, and only the settings bound it."""
    value = b'{"user_id":"u","item_id":"i","event_type":"click","timestamp":"2099-12-31T00:00:00Z"}'
    assert isinstance(DECODER.event(value, -1), Event)
    assert code(DECODER.event(value, RECORDED)) == "timestamp_out_of_range"
    assert code(DECODER.event(b'{"user_id":"u","item_id":"i","event_type":"click"}', -1)) == "timestamp_out_of_range"


def test_items() -> None:
    """An item needs its id; all the contract's fields come through, unknown ones are ignored."""
    assert DECODER.item(b'{"item_id": "i1"}') == Item("i1")
    value = (
        b'{"item_id": "i1", "title": "Lamp", "category": ["Home", "Light"], "brand": "B", "price": 9.5,'
        b' "currency": "EUR", "available": false, "tags": ["new"], "embeddings": {"image": [0.5, 1]}, "weight_kg": 2}'
    )
    item = DECODER.item(value)
    assert isinstance(item, Item)
    assert (item.title, item.category_path(), item.price, item.available) == ("Lamp", ("Home", "Light"), 9.5, False)
    assert Item("i1", category="Home").category_path() == ("Home",)
    assert Item("i1").category_path() == ()
    assert code(DECODER.item(b'{"title": "Lamp"}')) == "missing_field"
    assert code(DECODER.item(b'{"item_id": ""}')) == "missing_field"
    assert code(DECODER.item(b'{"item_id": "i1", "price": "9.5"}')) == "wrong_type"
    assert code(DECODER.item(b"Lamp")) == "not_json"
    assert code(DECODER.item(b'{"item_id": "' + b"i" * 513 + b'"}')) == "too_large"


@pytest.mark.parametrize(
    ("request_fields", "expected"),
    [
        ({"kind": "user"}, "missing_field"),
        ({"kind": "item"}, "missing_field"),
        ({"kind": "search"}, "missing_field"),
        ({"kind": "session"}, "missing_field"),
        ({"kind": "magic"}, "wrong_type"),
        ({"kind": "missing required field"}, "wrong_type"),
        ({"kind": "user", "user_id": "u1", "count": 0}, "out_of_range"),
        ({"kind": "user", "user_id": "u1", "count": 201}, "out_of_range"),
        ({"kind": "user", "user_id": "u1", "count": "20"}, "wrong_type"),
        ({"kind": "user", "user_id": "u1", "filters": {"colour": "red"}}, "wrong_type"),
        ({"kind": "user", "user_id": "u" * 513}, "too_large"),
        ({"kind": "session", "history": [{"user_id": "u", "item_id": "i", "event_type": "click"}] * 1001}, "too_large"),
        ({"kind": "user", "user_id": ""}, "missing_field"),
    ],
)
def test_requests_that_cannot_be_answered(request_fields: dict[str, object], expected: str) -> None:
    """Each says by its code what is wrong with it; a misspelt filter is not passed over."""
    generous = Decoder(EventSettings(max_bytes=1 << 20))
    assert code(generous.request(json.dumps({"request_id": "r1", **request_fields}).encode())) == expected


def test_requests() -> None:
    """One good request of each kind; 20 items are asked for unless the request says otherwise."""
    for fields in (
        {"kind": "user", "user_id": "u1"},
        {"kind": "item", "item_id": "i1", "count": 200},
        {"kind": "search", "query": "lamp", "count": 1},
        {"kind": "session", "history": []},
        {"user_id": "u1", "filters": {"category": ["Home"], "price": {"max": 10}, "exclude_seen": True}},
    ):
        request = DECODER.request(json.dumps({"request_id": "r1", **fields}).encode())
        assert isinstance(request, Request), request
        assert request.count == fields.get("count", 20)
    assert code(DECODER.request(b'{"kind": "user", "user_id": "u1"}')) == "missing_field"


def test_codes_are_the_contracts() -> None:
    """The codes that other people's dashboards name."""
    assert set(ERROR_CODES) == {
        "not_json", "missing_field", "wrong_type", "unknown_event_type", "timestamp_out_of_range", "too_large",
        "tombstone", "out_of_range", "unknown_intent",
    }  # fmt: skip


def test_bad_bounds_in_the_settings_are_named() -> None:
    """A bound that is no time is found when a process starts, not at its first event."""
    with pytest.raises(ValueError, match=r"events\.earliest = 'long ago'"):
        Decoder(EventSettings(earliest="long ago"))
