"""What the oracle reads from topics and keeps of it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

BAD: dict[bytes | None, str] = {
    b"{not json": "not_json",
    b"\x00\xff\xfe binary noise": "not_json",
    b'{"user_id": "u1", "item_id": "i1"}': "missing_field",
    b'{"user_id": 7, "item_id": "i1", "event_type": "click"}': "wrong_type",
    b'{"user_id": "u1", "item_id": "i1", "event_type": "teleport"}': "unknown_event_type",
    b'{"user_id": "u1", "item_id": "i1", "event_type": "click", "timestamp": "1702-01-01T00:00:00Z"}': (
        "timestamp_out_of_range"
    ),
    b'{"user_id": "u1", "item_id": "%s", "event_type": "click"}' % (b"x" * 100_000): "too_large",
    None: "",  # any code
}
ALIASES = {"view": "click", "addtocart": "cart", "transaction": "purchase"}
HISTORY, EVENT_IDS = 50, 64  # what the contract remembers of a user

Where = tuple[str, int]  # a user and a partition


@dataclass(slots=True)
class Expected:
    """One user on one partition, as an undisturbed fold of the log leaves them."""

    applied: int = 0
    offset: int = -1  # of the last applied event
    newest: int = -1  # of the last event, repetitions too
    history: deque[tuple[str, str, int]] = field(default_factory=lambda: deque(maxlen=HISTORY))
    ids: deque[str] = field(default_factory=lambda: deque(maxlen=EVENT_IDS))


class Row(NamedTuple):
    """The last row of a user in the changelog."""

    offset: int
    applied: int
    value: bytes


class Item(msgspec.Struct):
    item_id: str


class Position(msgspec.Struct):
    partition: int
    offset: int


class Provenance(msgspec.Struct):
    event: Position | None


class List(msgspec.Struct):
    recommendation_id: str
    user_id: str | None
    request_id: str | None
    items: list[Item]
    provenance: Provenance


@dataclass
class Counts:
    """What has been read so far."""

    events: int = 0
    applied: int = 0
    repeated: int = 0
    bad: int = 0
    lists: int = 0
    resent: int = 0  # lists for events that had one already
    rows: int = 0
    stale: int = 0  # rows behind newer ones of their user
    letters: int = 0
    requests: int = 0
    answers: int = 0


def history_of(row: bytes) -> list[tuple[str, str, int]]:
    """Items, types and times of a row of the changelog, as docs/messages.md describes it."""
    values: list[Any] = msgspec.msgpack.decode(row)
    items, names, times, types = values[3], values[4], values[5], values[7]
    return [(item, names[kind], time) for item, kind, time in zip(items, types, times, strict=True)]
