"""Answers to the `requests` topic: every request gets a Recommendation, a list or an error, or is forwarded once.

A user's state lives on the partition of the user's key. A request of kind `user` that stands elsewhere is forwarded
there, with the key and the partition under which its answer is awaited in headers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, get_args

import msgspec
from aiokafka.structs import ConsumerRecord

from stream.knowledge.serving import Query, RankedList, Serving
from stream.queries import state_query
from stream.state.row import DamagedRowError, decode_state
from stream.state.user_state import UserState
from stream.wire.decoding import TOO_LARGE, Decoder, Rejection, record_time
from stream.wire.event_types import PURCHASE
from stream.wire.messages import NO_FILTERS, EventPosition, Filters, Problem, Request, RequestKind
from stream.wire.partitioner import Partitioner
from stream.wire.times import LAST_MOMENT
from stream.worker.answers import UNKNOWN_USER, Answers, Made
from stream.worker.batch import Chunk, DeadLetter, RowOf

REPLY_KEY, REPLY_PARTITION = "alluvium-reply-key", "alluvium-reply-partition"
SEARCH_NOT_AVAILABLE = "search_not_available"
KINDS = get_args(RequestKind)
LONGEST_KEY = 65_536  # bytes, of a key that is answered under
LARGEST_ANSWER = 900_000  # bytes; with its key it is less than what Kafka's topics take by default


class Reply(NamedTuple):
    """An answer and where it is awaited."""

    kind: str
    partition: int
    key: bytes
    made: Made


class Forward(NamedTuple):
    """A request for a user whose state lives on another partition."""

    partition: int
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class Awaited(NamedTuple):
    """A request that a list is to be made for, and the state of the user it is about, where one is known."""

    request: Request
    query: Query
    state: UserState | None


class Found(NamedTuple):
    """A request's record and its answer, or what the answer's list is to be made from."""

    record: ConsumerRecord
    kind: str
    request_id: str
    answer: Made | Awaited


class Replied(NamedTuple):
    """What came of the requests of a micro-batch."""

    replies: list[Reply]
    forwards: list[Forward]
    dead: list[DeadLetter]


class Asking(NamedTuple):
    """The requests of a micro-batch: those to be answered, in order, and what has come of the others."""

    found: list[Found]
    replied: Replied

    def queries(self) -> list[Query]:
        """What lists are to be made for, in order."""
        return [one.answer.query for one in self.found if isinstance(one.answer, Awaited)]


class _Named(msgspec.Struct):
    """What can be read of a request that cannot be decoded."""

    request_id: str
    kind: str = "unknown"


class Requests:
    """Answers requests; made once per worker."""

    def __init__(
        self,
        decoder: Decoder,
        partitioner: Partitioner | None,
        partitions: int,
        events_topic: str,
        *,
        filters: Filters = NO_FILTERS,
        intent: str | None = None,
    ) -> None:
        """`filters` and `intent` are what lists are made with where a request does not say otherwise."""
        self._decoder = decoder
        self._filters, self._intent = filters, intent
        self._partitioner = partitioner
        self._partitions = partitions
        self._events_topic = events_topic
        self._longest_key = min(decoder.max_bytes, LONGEST_KEY)

    def ask(self, chunks: Iterable[Chunk], serving: Serving, answers: Answers, row_of: RowOf) -> Asking:
        """Reads the requests of a micro-batch, and answers those that need no list for a user or a session."""
        replied = Replied([], [], [])
        every = [
            self._one(record, serving, answers, row_of, replied)
            for _topic, _partition, records in chunks
            for record in records
        ]
        return Asking([one for one in every if one is not None], replied)

    def reply(self, asking: Asking, lists: Iterable[RankedList], answers: Answers) -> Replied:
        """The answers to what was asked, in order; `lists` are those for its `queries`."""
        replied, made_lists = asking.replied, iter(lists)
        for one in asking.found:
            record, kind, request_id, answer = one
            made = self._listed(record, answer, next(made_lists), answers) if isinstance(answer, Awaited) else answer
            if len(made.value) > LARGEST_ANSWER:
                why = Problem(TOO_LARGE, f"the answer would have {len(made.value)} bytes, more than {LARGEST_ANSWER}")
                made = answers.failed(kind, request_id, record.value, why)
            replied.replies.append(self._addressed(one, made))
        return replied

    def _one(
        self, record: ConsumerRecord, serving: Serving, answers: Answers, row_of: RowOf, replied: Replied
    ) -> Found | None:
        """None for what is not answered here; it stands in `replied` then."""
        request = self._decode(record)
        if isinstance(request, Rejection):
            replied.dead.append(DeadLetter(record, request))
            named = _named(record.value)
            if named is None or max(len(named.request_id), len(_reply_key(record, ""))) > self._longest_key:
                return None
            made = answers.failed(named.kind, named.request_id, record.value, Problem(request.code, request.detail))
            return Found(record, named.kind, named.request_id, made)
        forward = self._forward(record, request, row_of)
        if forward is not None:
            replied.forwards.append(forward)
            return None
        return Found(record, request.kind, request.request_id, self._answer(record, request, serving, answers, row_of))

    def _addressed(self, found: Found, made: Made) -> Reply:
        """An answer goes back under the request's key, on the request's partition."""
        record = found.record
        said = _header(record, REPLY_PARTITION) or b""
        number = int(said) if said.isdigit() and len(said) < 10 else self._partitions  # a stranger may have written it
        partition = number if number < self._partitions else record.partition
        return Reply(found.kind, partition, _reply_key(record, found.request_id), made)

    def _decode(self, record: ConsumerRecord) -> Request | Rejection:
        key = _reply_key(record, "")
        if len(key) > self._longest_key:
            return Rejection(TOO_LARGE, f"the key has {len(key)} bytes, more than {self._longest_key}")
        request = self._decoder.request(record.value)
        return request if isinstance(request, Rejection) else self._with_usual(request)

    def _with_usual(self, request: Request) -> Request:
        """The request with what it does not say taken from the settings."""
        filters = request.filters
        if filters.exclude_purchased is None:
            filters = msgspec.structs.replace(filters, exclude_purchased=self._filters.exclude_purchased)
        return msgspec.structs.replace(request, filters=filters, intent=request.intent or self._intent)

    def _forward(self, record: ConsumerRecord, request: Request, row_of: RowOf) -> Forward | None:
        """Where to send a request whose user is not known on its partition: a client with a partitioner of its own,
        but one for events and requests, finds the user's state where it asks.
        """
        if request.kind != "user" or self._partitioner is None or _header(record, REPLY_KEY) is not None:
            return None
        key = (request.user_id or "").encode()
        if row_of(record.partition, key) is not None:
            return None
        partition = self._partitioner(key, self._partitions)
        if partition == record.partition or len(record.value) > LARGEST_ANSWER:
            return None
        reply_key = request.request_id.encode() if record.key is None else record.key
        headers = [(REPLY_KEY, reply_key), (REPLY_PARTITION, str(record.partition).encode())]
        return Forward(partition, key, record.value, headers)

    def _answer(
        self, record: ConsumerRecord, request: Request, serving: Serving, answers: Answers, row_of: RowOf
    ) -> Made | Awaited:
        """The answer, or what its list is to be made from."""
        if request.kind == "search":
            problem = Problem(
                SEARCH_NOT_AVAILABLE, "this release cannot search yet: ask with kind user, item or session"
            )
            return answers.failed(request.kind, request.request_id, record.value, problem, request.user_id)
        if request.kind == "item":
            return self._similar(record, request, serving, answers, row_of)
        if request.kind == "session":
            return self._session(record, request, answers)
        return self._user(record, request, row_of)

    def _listed(self, record: ConsumerRecord, asked: Awaited, ranked: RankedList, answers: Answers) -> Made:
        """The answer to a request of kind `user` or `session`, from its list."""
        request, query, state = asked
        unknown = request.kind == "user" and state is None
        return answers.for_request(
            request.kind, request.request_id, record.value, ranked,
            now=query.now, partition=record.partition, user_id=request.user_id, seen=self._seen(record, state),
            fallback=UNKNOWN_USER if unknown else None,
        )  # fmt: skip

    def _user(self, record: ConsumerRecord, request: Request, row_of: RowOf) -> Awaited:
        state = self._state(record, request, row_of)
        query = state_query(
            state if state is not None else UserState(),
            count=request.count,
            filters=request.filters,
            explain=request.explain,
            intent=request.intent,
            now=_now(record, state),
        )
        return Awaited(request, query, state)

    def _similar(
        self, record: ConsumerRecord, request: Request, serving: Serving, answers: Answers, row_of: RowOf
    ) -> Made:
        state = self._state(record, request, row_of)
        purchased = [] if state is None else state.purchased
        ranked = serving.similar(request.item_id or "", request.count, request.filters, purchased)
        return answers.for_request(
            request.kind, request.request_id, record.value, ranked,
            now=_asked_at(record), partition=record.partition, user_id=request.user_id,
            seen=self._seen(record, state),
        )  # fmt: skip

    def _session(self, record: ConsumerRecord, request: Request, answers: Answers) -> Made | Awaited:
        events = [self._decoder.complete(raw, record_time(record)) for raw in request.history or ()]
        for event in events:
            if isinstance(event, Rejection):
                problem = Problem(event.code, f"in history: {event.detail}")
                return answers.failed(request.kind, request.request_id, record.value, problem, request.user_id)
        history = [event for event in events if not isinstance(event, Rejection)]
        now = history[-1].timestamp if history else _asked_at(record)
        query = Query(
            items=[event.item_id for event in history],
            types=[event.event_type for event in history],
            times=[event.timestamp for event in history],
            now=now,
            count=request.count,
            filters=request.filters,
            purchased=[event.item_id for event in history if event.event_type == PURCHASE],
            explain=request.explain,
            intent=request.intent,
        )
        return Awaited(request, query, None)

    def _state(self, record: ConsumerRecord, request: Request, row_of: RowOf) -> UserState | None:
        row = None if request.user_id is None else row_of(record.partition, request.user_id.encode())
        try:
            return None if row is None else decode_state(row)
        except DamagedRowError:
            return None  # as somebody unknown, until their next event

    def _seen(self, record: ConsumerRecord, state: UserState | None) -> EventPosition | None:
        return None if state is None else EventPosition(self._events_topic, record.partition, state.offset)


def _now(record: ConsumerRecord, state: UserState | None) -> int:
    """The time a request asks at: its record's, or that of the user's newest event if Kafka knows none."""
    asked = _asked_at(record)
    if asked >= 0:
        return asked
    return state.times[-1] if state is not None and state.times else 0


def _asked_at(record: ConsumerRecord) -> int:
    """The record's time, -1 where it has none that can be: its producer may have said anything."""
    moment = record_time(record)
    return moment if moment <= LAST_MOMENT else -1


def _reply_key(record: ConsumerRecord, request_id: str) -> bytes:
    """The key that the answer is awaited under."""
    forwarded = _header(record, REPLY_KEY)
    if forwarded is not None:
        return forwarded
    key: bytes | None = record.key
    return request_id.encode() if key is None else key


def _header(record: ConsumerRecord, name: str) -> bytes | None:
    found: bytes | None = next((value for header, value in record.headers or () if header == name), None)
    return found


def _named(value: bytes | None) -> _Named | None:
    """The id of a request that could not be decoded, if it says one."""
    try:
        named = msgspec.json.decode(value or b"", type=_Named)
        return named if named.kind in KINDS else _Named(named.request_id)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
