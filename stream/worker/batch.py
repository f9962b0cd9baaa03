"""What a micro-batch's events do to user state. Pure: records and rows in, states and outcomes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka.structs import ConsumerRecord

from stream.state.row import decode_state
from stream.state.user_state import Outcome, Stamped, UserState, advance, copied
from stream.wire.decoding import Decoder, Rejection
from stream.wire.messages import Event

UNKNOWN_TYPE = "unknown"  # the `event_type` label of events that could not be read

RowOf = Callable[[int, bytes], bytes | None]
Wanted = Callable[[Event], bool]


class Chunk(NamedTuple):
    """Consecutive records of one partition."""

    topic: str
    partition: int
    records: Sequence[ConsumerRecord]


class DeadLetter(NamedTuple):
    """A bad record and why it is bad."""

    record: ConsumerRecord
    rejection: Rejection


class Seen(NamedTuple):
    """A good event and the record that brought it."""

    record: ConsumerRecord
    event: Event


class Served(NamedTuple):
    """The list that a user was served last, and the artifact that made it."""

    artifact: str | None
    items: list[str]


class Asked(NamedTuple):
    """An event to score, and its user's state just before it; None for the state that the micro-batch began with."""

    event: Event
    state: UserState | None


@dataclass
class Touched:
    """A user whom a micro-batch's events are about, on the partition they stand on.

    `asked` are those of the events that are to be scored.
    """

    partition: int
    user_id: str
    state: UserState
    before: Served  # these events
    events: list[Seen]
    outcomes: list[Outcome] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        """Whether any of the events has changed the state (a replay changes nothing)."""
        return Outcome.APPLIED in self.outcomes

    @property
    def applied(self) -> list[Event]:
        """The events that changed the state, in log order."""
        pairs = zip(self.events, self.outcomes, strict=True)
        return [seen.event for seen, outcome in pairs if outcome is Outcome.APPLIED]

    @property
    def newest(self) -> int:
        """The newest offset that the list has seen: of the batch, duplicates too, or the stamp if that is newer."""
        last: int = self.events[-1].record.offset
        return max(self.state.offset, last)

    @property
    def oldest_record_time(self) -> int:
        """Kafka's timestamp of the event that has waited longest, epoch ms."""
        return min(record_time(seen.record) for seen in self.events)


@dataclass
class Decoded:
    """Events by (partition, user), each in log order, and what could not be read."""

    events: dict[tuple[int, str], list[Seen]] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)


def record_time(record: ConsumerRecord) -> int:
    """Kafka's timestamp in epoch ms, -1 when the record has none."""
    return -1 if record.timestamp is None else int(record.timestamp)


def decode(chunks: Iterable[Chunk], decoder: Decoder) -> Decoded:
    """Sorts records into events by user and dead letters."""
    decoded = Decoded()
    for _topic, partition, records in chunks:
        for record in records:
            event = decoder.event(record.value, record_time(record))
            if isinstance(event, Rejection):
                decoded.dead.append(DeadLetter(record, event))
            else:
                decoded.events.setdefault((partition, event.user_id), []).append(Seen(record, event))
    return decoded


def fold(decoded: Decoded, row_of: RowOf, wanted: Wanted) -> list[Touched]:
    """Each user's state after the events; what stands at or below the stamp changes nothing.

    `wanted` says which events are to be scored, if they are applied.
    """
    touched = []
    for (partition, user_id), events in decoded.events.items():
        row = row_of(partition, user_id.encode())
        state = UserState() if row is None else decode_state(row)
        user = Touched(partition, user_id, state, Served(state.last_artifact, state.last_items), events)
        _apply(user, wanted)
        touched.append(user)
    return touched


def _apply(user: Touched, wanted: Wanted) -> None:
    """Event by event, keeping the states that events of a burst are to be scored from."""
    changed = False
    for seen in user.events:
        scored = wanted(seen.event)
        before = copied(user.state) if scored and changed else None
        (outcome,) = advance(user.state, (Stamped(seen.record.offset, seen.event),))
        user.outcomes.append(outcome)
        if outcome is Outcome.APPLIED:
            changed = True
            if scored:
                user.asked.append(Asked(seen.event, before))


def outcome_counts(touched: Iterable[Touched], dead: int) -> Counter[tuple[str, str]]:
    """How many events had which (event type, outcome): together as many as there were records."""
    counts: Counter[tuple[str, str]] = Counter()
    for user in touched:
        for seen, outcome in zip(user.events, user.outcomes, strict=True):
            counts[seen.event.event_type, outcome.value] += 1
    if dead:
        counts[UNKNOWN_TYPE, "dead"] = dead
    return counts
