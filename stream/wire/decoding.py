"""From bytes to an event or a rejection. Pure: what a record means depends on the record and the settings alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec

from stream.settings import EventSettings
from stream.wire.event_types import EventTypes
from stream.wire.messages import Event, Item, RawEvent, Request
from stream.wire.times import to_milliseconds

NOT_JSON = "not_json"
MISSING_FIELD = "missing_field"
WRONG_TYPE = "wrong_type"
UNKNOWN_EVENT_TYPE = "unknown_event_type"
TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
TOO_LARGE = "too_large"
TOMBSTONE = "tombstone"
OUT_OF_RANGE = "out_of_range"
UNKNOWN_INTENT = "unknown_intent"
ERROR_CODES = (
    NOT_JSON, MISSING_FIELD, WRONG_TYPE, UNKNOWN_EVENT_TYPE, TIMESTAMP_OUT_OF_RANGE, TOO_LARGE, TOMBSTONE, OUT_OF_RANGE,
    UNKNOWN_INTENT,
)  # fmt: skip

MAX_COUNT = 200
MAX_REQUEST_HISTORY = 1_000
FAR = 1 << 63  # no moment is as far from 1970, in any unit; larger numbers cannot be stored

Message = TypeVar("Message", RawEvent, Item, Request)


class Record(Protocol):
    """What is looked at of a Kafka record."""

    value: bytes | None
    timestamp: int | None


def record_time(record: Record) -> int:
    """Kafka's timestamp in epoch ms, -1 when the record has none."""
    return -1 if record.timestamp is None else int(record.timestamp)


class Rejection(msgspec.Struct, frozen=True):
    """Why a record is bad: a stable code of the contract and a sentence for people."""

    code: str
    detail: str


class Decoder:
    """Decodes the values of `events`, `items` and `requests`; made once per process from the settings."""

    def __init__(self, settings: EventSettings) -> None:
        self._settings = settings
        self.types = EventTypes(settings.types)
        self._event = msgspec.json.Decoder(RawEvent)
        self._item = msgspec.json.Decoder(Item)
        self._request = msgspec.json.Decoder(Request)
        self._earliest = _bound("events.earliest", settings.earliest)
        self._latest = _bound("events.latest", settings.latest)
        self._read_event = self._event.decode
        self._longest_id = settings.max_id_bytes
        self._shortest_limit = min(settings.max_id_bytes, settings.max_bytes)
        self._ahead = int(settings.max_ahead_seconds * 1000)

    @property
    def max_bytes(self) -> int:
        """The largest message that is not rejected unread."""
        return self._settings.max_bytes

    def event(self, value: bytes | None, record_timestamp: int) -> Event | Rejection:
        """The event in a record's value; `record_timestamp` is Kafka's, in epoch milliseconds (-1: none)."""
        raw = self._decode(self._event, value)
        return raw if isinstance(raw, Rejection) else self.complete(raw, record_timestamp)

    def events(self, records: Sequence[Record]) -> list[Event | Rejection]:
        """`event` of each record, with what all their ids have to pass looked at once."""
        values = [record.value for record in records if record.value is not None]
        together = b"".join(values)
        # Without an escape the ids stand in the message as they are.
        plain = len(values) == len(records) and together.isascii() and b"\\" not in together
        if not plain or max(map(len, values), default=0) > self._shortest_limit:
            return [self._event_of(record) for record in records]
        return [self._plain_event(record, value) for record, value in zip(records, values, strict=True)]

    def _event_of(self, record: Record) -> Event | Rejection:
        return self.event(record.value, record_time(record))

    def _plain_event(self, record: Record, value: bytes) -> Event | Rejection:
        """An event in ASCII without escapes, shorter than any limit; all that is unusual about it is left to others."""
        try:
            raw = self._read_event(value)
        except (msgspec.DecodeError, RecursionError):
            return self._event_of(record)
        user_id, item_id, event_id, session_id = raw.user_id, raw.item_id, raw.event_id, raw.session_id
        recorded = record_time(record)
        timestamp = recorded if raw.timestamp is None else raw.timestamp
        event_type = self.types.canonical(raw.event_type)
        if (
            event_type is None
            or not (user_id and item_id)
            or event_id == ""
            or session_id == ""
            or type(timestamp) is not int
            or not self._earliest <= timestamp <= self._latest
            or timestamp > recorded + self._ahead
        ):
            return self.complete(raw, recorded)
        return Event(
            user_id, item_id, event_type, timestamp, event_id, session_id, raw.quantity, raw.price,
            raw.recommendation_id,
        )  # fmt: skip

    def item(self, value: bytes) -> Item | Rejection:
        """The catalogue's entry in a record of `items` that is no tombstone."""
        item = self._decode(self._item, value)
        if isinstance(item, Rejection):
            return item
        published = item.published_at
        if isinstance(published, int | float) and abs(published) >= FAR:
            return Rejection(TIMESTAMP_OUT_OF_RANGE, "published_at is a number beyond 64 bits")
        return self._check_ids({"item_id": item.item_id}) or item

    def catalogue_entry(self, key: bytes | None, value: bytes | None) -> tuple[str, Item | None] | Rejection:
        """Which item a record of `items` is about, and what it says: None for a tombstone, named by its key alone."""
        if value is not None:
            item = self.item(value)
            return item if isinstance(item, Rejection) else (item.item_id, item)
        try:
            item_id = (key or b"").decode()
        except UnicodeDecodeError:
            return Rejection(NOT_JSON, "the key of a tombstone is not UTF-8")
        if not item_id:
            return Rejection(MISSING_FIELD, "a tombstone without a key retires no item")
        return self._check_ids({"item_id": item_id}) or (item_id, None)

    def request(self, value: bytes | None) -> Request | Rejection:
        """A question, complete for its kind."""
        request = self._decode(self._request, value)
        if isinstance(request, Rejection):
            return request
        needed = {"user": "user_id", "item": "item_id", "search": "query", "session": "history"}[request.kind]
        if getattr(request, needed) is None:
            return Rejection(MISSING_FIELD, f"a request of kind {request.kind} needs {needed}")
        if not 1 <= request.count <= MAX_COUNT:
            return Rejection(OUT_OF_RANGE, f"count must be between 1 and {MAX_COUNT}, is {request.count}")
        if request.history is not None and len(request.history) > MAX_REQUEST_HISTORY:
            return Rejection(TOO_LARGE, f"history holds more than {MAX_REQUEST_HISTORY} events")
        ids = {"request_id": request.request_id, "user_id": request.user_id, "item_id": request.item_id}
        return self._check_ids(ids) or self._with_intent(request)

    def complete(self, raw: RawEvent, record_timestamp: int) -> Event | Rejection:
        """Checks what JSON's types can't say, resolves aliases and fills in the timestamp."""
        if not self._plain(raw):
            ids = {"user_id": raw.user_id, "item_id": raw.item_id, "event_id": raw.event_id}
            problem = self._check_ids({**ids, "session_id": raw.session_id})
            if problem is not None:
                return problem
        event_type = self.types.canonical(raw.event_type)
        if event_type is None:
            known = ", ".join(self.types.names)
            return Rejection(UNKNOWN_EVENT_TYPE, f"event_type {raw.event_type[:80]!r} is none of {known}, nor an alias")
        timestamp = self._timestamp(raw.timestamp, record_timestamp)
        if isinstance(timestamp, Rejection):
            return timestamp
        return Event(  # by position: half the time
            raw.user_id, raw.item_id, event_type, timestamp, raw.event_id, raw.session_id, raw.quantity, raw.price,
            raw.recommendation_id,
        )  # fmt: skip

    def _with_intent(self, request: Request) -> Request | Rejection:
        if request.intent is None:
            return request
        intent = self.types.wanted(request.intent)
        if intent is None:
            known = ", ".join(filter(self.types.is_positive, self.types.names))
            return Rejection(UNKNOWN_INTENT, f"intent {request.intent[:80]!r} is none of {known}, nor an alias of one")
        return msgspec.structs.replace(request, intent=intent)

    def _decode(self, decoder: msgspec.json.Decoder[Message], value: bytes | None) -> Message | Rejection:
        if value is None:
            return Rejection(TOMBSTONE, "a null value has no meaning on this topic")
        if len(value) > self._settings.max_bytes:
            return Rejection(TOO_LARGE, f"the message has {len(value)} bytes, more than {self._settings.max_bytes}")
        try:
            if not value.isascii():
                value.decode()  # msgspec skips unknown fields without looking whether they are text
            return decoder.decode(value)
        except msgspec.ValidationError as error:
            return _why_invalid(value, str(error))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Rejection(NOT_JSON, _short(str(error)))
        except RecursionError:
            return Rejection(WRONG_TYPE, "the message is nested too deeply")

    def _plain(self, raw: RawEvent) -> bool:
        """Whether all ids are ASCII and short together, so that none needs a closer look."""
        event_id, session_id = raw.event_id, raw.session_id
        together = f"{raw.user_id}{raw.item_id}{event_id}{session_id}"
        given = raw.user_id and raw.item_id and event_id != "" and session_id != ""
        return bool(given) and len(together) <= self._longest_id and together.isascii()

    def _check_ids(self, ids: dict[str, str | None]) -> Rejection | None:
        for name, identity in ids.items():
            if identity is None:
                continue
            if not identity:
                return Rejection(MISSING_FIELD, f"{name} is empty")
            try:
                size = len(identity.encode())
            except UnicodeEncodeError:
                return Rejection(NOT_JSON, f"{name} holds half a surrogate pair, which is no text")
            if size > self._settings.max_id_bytes:
                return Rejection(TOO_LARGE, f"{name} has {size} bytes, more than {self._settings.max_id_bytes}")
        return None

    def time_range(self, record_timestamp: int) -> tuple[int, int]:
        """The earliest and the latest time that an event may say in a record of that timestamp, all in epoch ms."""
        return self._earliest, min(self._latest, record_timestamp + self._ahead)

    def _timestamp(self, given: str | float | None, record_timestamp: int) -> int | Rejection:
        moment = record_timestamp if given is None else to_milliseconds(given)
        latest = record_timestamp + self._ahead
        if record_timestamp < 0 or latest > self._latest:
            latest = self._latest
        if moment is not None and self._earliest <= moment <= latest:
            return moment
        shown = "of a number beyond 64 bits" if isinstance(given, int) and given.bit_length() > 64 else str(given)[:80]
        if moment is None:
            return Rejection(WRONG_TYPE, f"timestamp {shown!r} is neither ISO 8601 nor epoch milliseconds")
        return Rejection(
            TIMESTAMP_OUT_OF_RANGE,
            f"timestamp {shown} is not between {self._settings.earliest} and {self._settings.latest}, or more than "
            f"{self._settings.max_ahead_seconds:g} s after the record's own",
        )


def _bound(name: str, text: str) -> int:
    moment = to_milliseconds(text)
    if moment is None:
        raise ValueError(f"{name} = {text!r} is not an ISO 8601 time")
    return moment


def _why_invalid(value: bytes, problem: str) -> Rejection:
    try:
        msgspec.json.decode(value)  # the typed decoder stopped at the first wrong type: what follows may be no JSON
    except msgspec.ValidationError:
        return Rejection(WRONG_TYPE, _short(problem))
    except msgspec.DecodeError as error:
        return Rejection(NOT_JSON, _short(str(error)))
    except RecursionError:
        return Rejection(WRONG_TYPE, "the message is nested too deeply")
    code = MISSING_FIELD if problem.startswith("Object missing required field") else WRONG_TYPE
    return Rejection(code, _short(problem))


def _short(text: str) -> str:
    return text if len(text) <= 300 else text[:300] + "…"
