"""What a micro-batch's events do to user state. Pure: records and rows in, states and outcomes out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka.structs import ConsumerRecord

from stream.state.user_state import Outcome, Stamped, UserState, advance, decode_state
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


@dataclass
class Touched:
    """A user whom a micro-batch's events are about, on the partition they stand on."""

    partition: int
    user_id: str
    state: UserState
    before: list[str]  # the list served last, before these events
    events: list[Seen]
    outcomes: list[Outcome]

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


def fold(decoded: Decoded, row_of: RowOf) -> list[Touched]:
    """Each user's state after the events; what stands at or below the stamp changes nothing."""
    touched = []
    for (partition, user_id), events in decoded.events.items():
        row = row_of(partition, user_id.encode())
        state = UserState() if row is None else decode_state(row)
        before = state.last_items
        outcomes = advance(state, [Stamped(seen.record.offset, seen.event) for seen in events])
        touched.append(Touched(partition, user_id, state, before, events, outcomes))
    return touched


def outcome_counts(touched: Iterable[Touched], dead: int) -> Counter[tuple[str, str]]:
    """How many events had which (event type, outcome): together as many as there were records."""
    counts: Counter[tuple[str, str]] = Counter()
    for user in touched:
        for seen, outcome in zip(user.events, user.outcomes, strict=True):
            counts[seen.event.event_type, outcome.value] += 1
    if dead:
        counts[UNKNOWN_TYPE, "dead"] = dead
    return counts
