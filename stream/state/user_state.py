"""A user's state and how events change it: a pure fold, so that any reader of the log comes to the same state.

A state is stamped with the offset of the last event applied to it. Folding an offset at or below the stamp changes
nothing, which gives exactly-once effect without transactions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

import msgspec

from stream.wire.event_types import PURCHASE
from stream.wire.messages import Event

HISTORY = 50  # interactions kept
ID_BYTES = 8
RECENT_EVENT_IDS = 64  # a producer's retry comes within seconds; 64 events of one user are minutes at least
PURCHASED = 200  # distinct items remembered as bought, beyond the history


class Outcome(Enum):
    """What an event did to its user's state."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"


class UserState(msgspec.Struct):
    """One user on one partition. Columns `items`, `types`, `times` are the history, oldest first."""

    offset: int = -1  # last applied offset of the user's partition
    events_applied: int = 0
    items: list[str] = []
    types: list[str] = []
    times: list[int] = []  # epoch milliseconds
    purchased: list[str] = []  # distinct, latest last
    recent_event_ids: bytes = b""  # digests of ID_BYTES each, latest last
    last_recommendation_id: str | None = None
    last_artifact: str | None = None
    last_items: list[str] = []  # the list served last, for scoring the next event against it


class Stamped(NamedTuple):
    """An event and its offset in the user's partition."""

    offset: int
    event: Event


def with_event_id(recent: bytes, event_id: str) -> bytes | None:
    """The digests of a user's latest event ids with one more; None when it is among them: the event is a repetition."""
    digest = hashlib.blake2b(event_id.encode(), digest_size=ID_BYTES).digest()
    at = recent.find(digest)
    while at > 0 and at % ID_BYTES:  # a match across two digests is none
        at = recent.find(digest, at + 1)
    return (recent + digest)[-RECENT_EVENT_IDS * ID_BYTES :] if at < 0 else None


def copied(state: UserState) -> UserState:
    """The state as it is, for whoever asks from it after it has gone on."""
    return msgspec.structs.replace(
        state,
        items=state.items[:],
        types=state.types[:],
        times=state.times[:],
        purchased=state.purchased[:],
    )


def advance(state: UserState, events: Iterable[Stamped]) -> list[Outcome]:
    """Folds a user's events, in log order, into `state`, in place; says for each what it did.

    >>> state = UserState()
    >>> click = Event("u1", "i1", "click", 0, event_id="e1")
    >>> advance(state, [Stamped(4, click), Stamped(4, click), Stamped(9, click)])
    [<Outcome.APPLIED: 'applied'>, <Outcome.DUPLICATE: 'duplicate'>, <Outcome.DUPLICATE: 'duplicate'>]
    >>> state.offset, state.items
    (4, ['i1'])
    """
    return [advance_by(state, offset, event) for offset, event in events]


def advance_by(state: UserState, offset: int, event: Event) -> Outcome:
    """`advance` by one event."""
    if offset <= state.offset:
        return Outcome.DUPLICATE
    if event.event_id is not None:
        recent = with_event_id(state.recent_event_ids, event.event_id)
        if recent is None:
            return Outcome.DUPLICATE
        state.recent_event_ids = recent
    state.offset = offset
    state.events_applied += 1
    state.items.append(event.item_id)
    state.types.append(event.event_type)
    state.times.append(event.timestamp)
    if len(state.items) > HISTORY:
        del state.items[:-HISTORY], state.types[:-HISTORY], state.times[:-HISTORY]
    if event.event_type == PURCHASE:
        if event.item_id in state.purchased:
            state.purchased.remove(event.item_id)
        state.purchased.append(event.item_id)
        del state.purchased[:-PURCHASED]
    return Outcome.APPLIED
