"""What a micro-batch's events do to user state. Pure: records and rows in, states and outcomes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from aiokafka.structs import ConsumerRecord

from stream.queries import ScoredEvents
from stream.state.row import NO_TEXT, DamagedRowError, decode_but_list, pack_items, unpack_items
from stream.state.user_state import Outcome, UserState, advance_by, copied
from stream.wire.decoding import Decoder, Rejection, record_time
from stream.wire.messages import Event

UNKNOWN_TYPE, DEAD = "unknown", "dead"  # the labels `event_type` and `outcome` of events that could not be read

NEVER = pack_items([])  # the list of somebody who was never served one
NO_ITEMS = bytes(NEVER)

RowOf = Callable[[int, bytes], bytes | None]


class Chunk(NamedTuple):
    """Consecutive records of one partition."""

    topic: str
    partition: int
    records: Sequence[ConsumerRecord]


class DeadLetter(NamedTuple):
    """A bad record and why it is bad."""

    record: ConsumerRecord
    rejection: Rejection


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A good event and the record that brought it."""

    record: ConsumerRecord
    event: Event


class Served(msgspec.Struct, frozen=True, gc=False):
    """The list that a user was served last, as it stands in the row or as it is, and the artifact that made it."""

    artifact: str | None
    listed: list[str] | msgspec.Raw

    def rank(self, item_id: str) -> int:
        """The place of an item in the list, from 1 on; 0 if it is not there, -1 if there is no list."""
        listed = self.listed
        if isinstance(listed, msgspec.Raw):
            packed = bytes(listed)
            if item_id.encode() not in packed:
                return -1 if packed == NO_ITEMS else 0
            try:
                listed = unpack_items(listed)
            except NO_TEXT:  # a damaged row
                return -1
        if item_id in listed:
            return listed.index(item_id) + 1
        return 0 if listed else -1


class Asked(msgspec.Struct, frozen=True, gc=False):
    """An event to score, and its user's state just before it; None for the state that the micro-batch began with."""

    event: Event
    state: UserState | None


class Touched(msgspec.Struct, gc=False):
    """A user whom a micro-batch's events are about, on the partition they stand on.

    `asked` are those of the events that are to be scored; of a `damaged` one the row could not be read.
    """

    partition: int
    user_id: str
    key: bytes  # of the user's records
    state: UserState  # without the list that was served last
    before: Served  # these events
    events: list[Seen]
    applied: list[Event] = []  # those that changed the state, in log order
    repeated: list[Event] = []  # the others
    asked: list[Asked] = []
    damaged: bool = False

    @property
    def changed(self) -> bool:
        """By any of the events: a replay changes nothing."""
        return len(self.applied) > 0

    @property
    def newest(self) -> int:
        """The newest offset that the list has seen: of the batch, duplicates too, or the stamp if that is newer."""
        last: int = self.events[-1].record.offset
        return last if last > self.state.offset else self.state.offset

    @property
    def oldest_record_time(self) -> int:
        """Kafka's timestamp of the event that has waited longest, epoch ms."""
        if len(self.events) == 1:
            return record_time(self.events[0].record)
        return min(record_time(seen.record) for seen in self.events)


@dataclass
class Decoded:
    """Events by partition and user, each in log order, and what could not be read."""

    events: dict[int, dict[str, list[Seen]]] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)


def decode(chunks: Iterable[Chunk], decoder: Decoder) -> Decoded:
    """Sorts records into events by user and dead letters."""
    decoded = Decoded()
    for _topic, partition, records in chunks:
        users = decoded.events.setdefault(partition, {})
        for record, event in zip(records, decoder.events(records), strict=True):
            if isinstance(event, Rejection):
                decoded.dead.append(DeadLetter(record, event))
                continue
            seen = users.get(event.user_id)
            if seen is None:
                users[event.user_id] = [Seen(record, event)]
            else:
                seen.append(Seen(record, event))
    return decoded


def fold(decoded: Decoded, row_of: RowOf, scored: ScoredEvents) -> list[Touched]:
    """Each user's state after the events; what stands at or below the stamp changes nothing.

    A user whose row is damaged begins anew.

    `scored` says which events are to be scored, if they are applied.
    """
    touched = []
    for partition, users in decoded.events.items():
        for user_id, events in users.items():
            key = user_id.encode()
            row = row_of(partition, key)
            state, listed, damaged = UserState(), NEVER, False
            if row is not None:
                try:
                    state, listed = decode_but_list(row)
                except DamagedRowError:
                    damaged = True
            user = Touched(partition, user_id, key, state, Served(state.last_artifact, listed), events, damaged=damaged)
            _apply(user, scored)
            touched.append(user)
    return touched


def _apply(user: Touched, scored: ScoredEvents) -> None:
    """Event by event, keeping the states that events of a burst are to be scored from."""
    state, kinds, applied = user.state, scored.of_user(user.key), user.applied
    for seen in user.events:
        event, offset, before = seen.event, seen.record.offset, None
        wanted = event.event_type in kinds
        if wanted and applied:
            wanted = scored.in_burst(user.key, offset)
            before = copied(state) if wanted else None
        if advance_by(state, offset, event) is Outcome.DUPLICATE:
            user.repeated.append(event)
            continue
        applied.append(event)
        if wanted:
            user.asked.append(Asked(event, before))


def outcome_counts(touched: Sequence[Touched]) -> Counter[tuple[str, str]]:
    """How many events had which (event type, outcome): together as many as there were good records."""
    applied = Counter([event.event_type for user in touched for event in user.applied])
    repeated = Counter([event.event_type for user in touched for event in user.repeated])
    counts: Counter[tuple[str, str]] = Counter()
    for outcome, kinds in ((Outcome.APPLIED, applied), (Outcome.DUPLICATE, repeated)):
        counts.update({(kind, outcome.value): count for kind, count in kinds.items()})
    return counts
