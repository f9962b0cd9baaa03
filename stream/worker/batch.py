"""What a micro-batch's events do to user state. Pure: records and rows in, states and outcomes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka.structs import ConsumerRecord

from stream.queries import ScoredEvents
from stream.state.row import decode_state
from stream.state.user_state import Outcome, UserState, advance_by, copied
from stream.wire.decoding import Decoder, Rejection
from stream.wire.messages import Event

UNKNOWN_TYPE = "unknown"  # the `event_type` label of events that could not be read

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


@dataclass(slots=True)
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
    changed: bool = False  # by any of the events (a replay changes nothing)

    @property
    def applied(self) -> list[Event]:
        """The events that changed the state, in log order."""
        pairs = zip(self.events, self.outcomes, strict=True)
        return [seen.event for seen, outcome in pairs if outcome is Outcome.APPLIED]

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


def record_time(record: ConsumerRecord) -> int:
    """Kafka's timestamp in epoch ms, -1 when the record has none."""
    return -1 if record.timestamp is None else int(record.timestamp)


def decode(chunks: Iterable[Chunk], decoder: Decoder) -> Decoded:
    """Sorts records into events by user and dead letters."""
    decoded = Decoded()
    for _topic, partition, records in chunks:
        users = decoded.events.setdefault(partition, {})
        for record in records:
            event = decoder.event(record.value, record_time(record))
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

    `scored` says which events are to be scored, if they are applied.
    """
    touched = []
    for partition, users in decoded.events.items():
        for user_id, events in users.items():
            row = row_of(partition, user_id.encode())
            state = UserState() if row is None else decode_state(row)
            user = Touched(partition, user_id, state, Served(state.last_artifact, state.last_items), events)
            _apply(user, scored)
            touched.append(user)
    return touched


def _apply(user: Touched, scored: ScoredEvents) -> None:
    """Event by event, keeping the states that events of a burst are to be scored from."""
    state, kinds = user.state, scored.of_user(user.user_id)
    for record, event in user.events:
        wanted, before = event.event_type in kinds, None
        if wanted and user.changed:
            wanted = scored.in_burst(user.user_id, record.offset)
            before = copied(state) if wanted else None
        outcome = advance_by(state, record.offset, event)
        user.outcomes.append(outcome)
        if outcome is Outcome.APPLIED:
            user.changed = True
            if wanted:
                user.asked.append(Asked(event, before))


def outcome_counts(touched: Iterable[Touched], dead: int) -> Counter[tuple[str, str]]:
    """How many events had which (event type, outcome): together as many as there were records."""
    kinds: dict[bool, list[str]] = {True: [], False: []}
    for user in touched:
        for seen, outcome in zip(user.events, user.outcomes, strict=True):
            kinds[outcome is Outcome.APPLIED].append(seen.event.event_type)
    counts: Counter[tuple[str, str]] = Counter()
    for applied, outcome in ((True, Outcome.APPLIED), (False, Outcome.DUPLICATE)):
        counts.update({(kind, outcome.value): count for kind, count in Counter(kinds[applied]).items()})
    if dead:
        counts[UNKNOWN_TYPE, "dead"] = dead
    return counts
