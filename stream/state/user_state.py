"""A user's state and how events change it: a pure fold, so that any reader of the log comes to the same state.

A row is one msgpack array, stamped with the offset of the last event applied to it. Folding an offset at or below the
stamp changes nothing, which gives exactly-once effect without transactions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

import msgspec

from stream.wire.event_types import PURCHASE
from stream.wire.messages import Event

VERSION = 1
HISTORY = 50  # interactions kept
RECENT_EVENT_IDS = 64  # a producer's retry comes within seconds; 64 events of one user are minutes at least
PURCHASED = 200  # distinct items remembered as bought, beyond the history


class Outcome(Enum):
    """What an event did to its user's state."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"


class UserState(msgspec.Struct, array_like=True):
    """One user on one partition. Columns `items`, `types`, `times` are the history, oldest first."""

    version: int = VERSION
    offset: int = -1  # last applied offset of the user's partition
    events_applied: int = 0
    items: list[str] = []
    types: list[str] = []
    times: list[int] = []  # epoch milliseconds
    purchased: list[str] = []  # distinct, latest last
    recent_event_ids: list[int] = []  # 64-bit hashes, latest last
    last_recommendation_id: str | None = None
    last_artifact: str | None = None
    last_items: list[str] = []  # the list served last, for scoring the next event against it


class Stamped(NamedTuple):
    """An event and its offset in the user's partition."""

    offset: int
    event: Event


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(UserState)


class UnknownStateVersionError(ValueError):
    """A row was written by a newer release. Operator action: run a worker at least as new as the one that wrote it."""


def encode_state(state: UserState) -> bytes:
    """The changelog's row."""
    return _ENCODER.encode(state)


def decode_state(row: bytes) -> UserState:
    """The state in a changelog's row. Raises UnknownStateVersionError for a row from the future."""
    state = _DECODER.decode(row)
    if state.version > VERSION:
        raise UnknownStateVersionError(f"user state of version {state.version}, this release knows {VERSION}")
    return state


def event_id_hash(event_id: str) -> int:
    """64 bits of an event id, the same in every process."""
    return int.from_bytes(hashlib.blake2b(event_id.encode(), digest_size=8).digest(), "big")


def copied(state: UserState) -> UserState:
    """The state as it is, for whoever asks from it after it has gone on."""
    return msgspec.structs.replace(
        state,
        items=state.items[:],
        types=state.types[:],
        times=state.times[:],
        purchased=state.purchased[:],
        recent_event_ids=state.recent_event_ids[:],
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
    outcomes = [_apply(state, offset, event) for offset, event in events]
    del state.items[:-HISTORY], state.types[:-HISTORY], state.times[:-HISTORY]
    del state.purchased[:-PURCHASED], state.recent_event_ids[:-RECENT_EVENT_IDS]
    return outcomes


def _apply(state: UserState, offset: int, event: Event) -> Outcome:
    if offset <= state.offset:
        return Outcome.DUPLICATE
    if event.event_id is not None:
        identity = event_id_hash(event.event_id)
        if identity in state.recent_event_ids[-RECENT_EVENT_IDS:]:
            return Outcome.DUPLICATE
        state.recent_event_ids.append(identity)
    state.offset = offset
    state.events_applied += 1
    state.items.append(event.item_id)
    state.types.append(event.event_type)
    state.times.append(event.timestamp)
    if event.event_type == PURCHASE:
        if event.item_id in state.purchased:
            state.purchased.remove(event.item_id)
        state.purchased.append(event.item_id)
    return Outcome.APPLIED
