"""The job that every contender does, apart from how its records travel: what a user would write with msgspec.

Decode and validate an event, advance the user's state, make the message with the list for it. Needs msgspec alone, so
that it runs in any contender's environment.
"""

from __future__ import annotations

import gc
import hashlib
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

HISTORY = 50  # interactions kept
LIST = 20  # items
LONGEST_ID = 512
LARGEST = 65_536
EARLIEST, AHEAD = 631_152_000_000, 86_400_000  # 1990-01-01; an event may be a day newer than its record, in ms
EVENT_TYPES = {
    "click": "click", "view": "click", "pageview": "click",
    "cart": "cart", "addtocart": "cart", "add_to_cart": "cart",
    "purchase": "purchase", "transaction": "purchase", "buy": "purchase", "order": "purchase",
    "remove": "remove", "dislike": "dislike",
}  # fmt: skip


class Task(msgspec.Struct, frozen=True):
    """What a contender is told, as JSON in the file that is its one argument.

    `items` is the catalogue; `artifact` is empty where the list is to be a constant one, the first LIST of them;
    `commit_seconds` is how often a contender commits.
    """

    servers: str
    group: str
    events: str
    recommendations: str
    dead_letters: str
    changelog: str
    partitions: int
    directory: str
    items: list[str]
    settings: str
    settings_file: str
    artifact_url: str = ""
    artifact: str = ""
    commit_seconds: float = 1.0


class Event(msgspec.Struct, frozen=True):
    """The fields of an event that are looked at."""

    user_id: str
    item_id: str
    event_type: str
    event_id: str | None = None
    timestamp: int | None = None
    session_id: str | None = None
    quantity: float | None = None
    price: float | None = None


class State(msgspec.Struct, array_like=True):
    """A user: the last interactions as columns, oldest first, and the offset of the newest."""

    offset: int = -1
    items: list[str] = []
    types: list[str] = []
    times: list[int] = []
    purchased: list[str] = []


class BadEventError(ValueError):
    """An event that cannot be one; its first argument is the code that a dead letter carries."""


class Lister(Protocol):
    """Makes the list for a state."""

    name: str | None  # of the artifact
    fallback: str | None

    def items(self, state: State) -> msgspec.Raw:
        """The `items` of a message, as JSON."""


class Constant:
    """The same list for everybody, encoded once."""

    name: str | None = None
    fallback: str | None = "constant"

    def __init__(self, item_ids: Sequence[str]) -> None:
        items = [
            {"item_id": item, "score": 1.0 / (place + 1), "source": ["constant"], "propensity": 1.0, "reason": None}
            for place, item in enumerate(item_ids)
        ]
        self._items = msgspec.Raw(msgspec.json.encode(items))

    def items(self, state: State) -> msgspec.Raw:  # noqa: ARG002
        """The list."""
        return self._items


class Position(msgspec.Struct, frozen=True):
    """Where the event stands that a list has seen."""

    topic: str
    partition: int
    offset: int


class Provenance(msgspec.Struct, frozen=True):
    """What a list was made from."""

    artifact: str | None
    parent: None
    event: Position
    settings: str
    seed: int


class Message(msgspec.Struct, frozen=True):
    """A message on `recommendations`."""

    recommendation_id: str
    kind: str
    user_id: str
    request_id: None
    items: msgspec.Raw
    provenance: Provenance
    event_timestamp: str
    generated_at: str
    fallback: str | None


class Job:
    """Decodes events and answers them; a contender gives it records and takes states and messages."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self._lister = lister(task)
        self._decode = msgspec.json.Decoder(Event).decode
        self._unpack = msgspec.msgpack.Decoder(State).decode
        self._pack = msgspec.msgpack.Encoder().encode
        self._json = msgspec.json.Encoder().encode
        self._now, self._now_text = 0, ""

    def event(self, value: bytes | None, record_time: int) -> Event:
        """The event in a record's value. Raises BadEventError."""
        if value is None or len(value) > LARGEST:
            raise BadEventError("tombstone" if value is None else "too_large")
        try:
            event = self._decode(value)
        except msgspec.ValidationError as error:
            raise BadEventError("missing_field" if "missing required" in str(error) else "wrong_type") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise BadEventError("not_json") from None
        if not event.user_id or not event.item_id:
            raise BadEventError("missing_field")
        if len(event.user_id) > LONGEST_ID or len(event.item_id) > LONGEST_ID:
            raise BadEventError("too_large")
        if event.event_type not in EVENT_TYPES:
            raise BadEventError("unknown_event_type")
        if event.timestamp is not None and not EARLIEST <= event.timestamp <= record_time + AHEAD:
            raise BadEventError("timestamp_out_of_range")
        return event

    def unpack(self, row: bytes | None) -> State:
        """A state from its row, a new one where there is none."""
        return State() if row is None else self._unpack(row)

    def pack(self, state: State) -> bytes:
        """A state's row, as the changelog has it."""
        return self._pack(state)

    def advance(self, state: State, event: Event, offset: int, record_time: int) -> None:
        """Folds an event into the state, in place."""
        kind = EVENT_TYPES[event.event_type]
        state.offset = offset
        state.items.append(event.item_id)
        state.types.append(kind)
        state.times.append(record_time if event.timestamp is None else event.timestamp)
        if len(state.items) > HISTORY:
            del state.items[0], state.types[0], state.times[0]
        if kind == "purchase" and event.item_id not in state.purchased:
            state.purchased.append(event.item_id)

    def message(self, state: State, event: Event, partition: int) -> bytes:
        """The message with the list for a state."""
        items = self._lister.items(state)
        seen = Position(self.task.events, partition, state.offset)
        identity = f"{event.user_id}-{partition}-{state.offset}-{self._lister.name}"
        return self._json(
            Message(
                hashlib.blake2b(identity.encode(), digest_size=16).hexdigest(),
                "user",
                event.user_id,
                None,
                items,
                Provenance(self._lister.name, None, seen, self.task.settings, 7),
                _iso(state.times[-1] / 1000),
                self._generated_at(),
                self._lister.fallback,
            )
        )

    def _generated_at(self) -> str:
        now = time.time_ns() // 1_000_000
        if now != self._now:
            self._now, self._now_text = now, _iso(now / 1000)
        return self._now_text

    def letter_headers(self, problem: BadEventError, partition: int, offset: int) -> list[tuple[str, bytes]]:
        """The headers of a dead letter."""
        source = f"{self.task.events}-{partition}-{offset}"
        return [("alluvium-error", str(problem.args[0]).encode()), ("alluvium-source", source.encode())]


def lister(task: Task) -> Lister:
    """A constant list, or the recommender with an artifact, as the task says."""
    if not task.artifact:
        return Constant(task.items[:LIST])
    from stream.bench.contenders.lists import Recommender  # noqa: PLC0415  (most tasks need none of what it needs)

    return Recommender(task)


def read_task() -> Task:
    """The task in the file that the process was started with."""
    return msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Task)


def calm_collector() -> None:
    """Everything is loaded: the collector need not look at it again, nor every few hundred objects at what comes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # as the worker has it


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
