"""A log from the topics: what stands in `events` now, folded as a worker folds it, and what stands in `items`."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
from aiokafka.structs import ConsumerRecord

from stream.evaluation.event_log import NO_SESSION, EventLog, ItemNews, LogError
from stream.evaluation.log_file import DAY_MS
from stream.kafka import read_topic
from stream.settings import KafkaSettings
from stream.state.user_state import Outcome, Stamped, UserState, advance
from stream.wire.decoding import Decoder, Rejection
from stream.wire.messages import Event, Item
from stream.wire.topics import EVENTS, ITEMS

DUPLICATE = "duplicate"


class _Heard(NamedTuple):
    """The order of events: by their own time, or Kafka's where that is earlier, never stepping back in a partition.

    So each partition keeps its order, a clock that is ahead puts nobody else behind, and a file that was replayed at
    once comes back in its own order.
    """

    moment: int
    partition: int
    offset: int


class TopicLog:
    """Takes records as they come, each partition in order; `log()` puts the partitions together by time."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._events: list[tuple[_Heard, int, Event]] = []  # with Kafka's time
        self._items: list[tuple[int, int, int, str, Item | None]] = []  # Kafka's time, partition and offset first
        self._states: dict[tuple[int, str], UserState] = {}
        self._newest: dict[int, int] = {}  # the moment that a partition of `events` has come to
        self._left_out: Counter[str] = Counter()

    def event(self, record: ConsumerRecord) -> None:
        """Takes a record of `events`; what a worker would reject or take for a repetition is left out."""
        event = self._decoder.event(record.value, record.timestamp)
        if isinstance(event, Rejection):
            self._left_out[event.code] += 1
            return
        state = self._states.setdefault((record.partition, event.user_id), UserState())
        if advance(state, [Stamped(record.offset, event)]) == [Outcome.DUPLICATE]:
            self._left_out[DUPLICATE] += 1
            return
        moment = event.timestamp if record.timestamp < 0 else min(event.timestamp, record.timestamp)
        moment = self._newest[record.partition] = max(moment, self._newest.get(record.partition, moment))
        self._events.append((_Heard(moment, record.partition, record.offset), record.timestamp, event))

    def item(self, record: ConsumerRecord) -> None:
        """Takes a record of `items`."""
        entry = self._decoder.catalogue_entry(record.key, record.value)
        if isinstance(entry, Rejection):
            self._left_out[entry.code] += 1
            return
        self._items.append((record.timestamp, record.partition, record.offset, *entry))

    def log(self) -> EventLog:
        """The events taken so far as a log; a period is a day of the events' own times.

        Raises LogError where there is none.
        """
        if not self._events:
            raise LogError("the topic holds no event")
        self._events.sort(key=lambda heard: heard[0])
        events = [event for _, _, event in self._events]
        users, items = _Numbers(), _Numbers()
        sessions = _Numbers()
        times = np.array([event.timestamp for event in events], np.int64)
        return EventLog(
            users.names,
            items.names,
            np.array([users.number(event.user_id) for event in events], np.int64),
            np.array([items.number(event.item_id) for event in events], np.int64),
            np.array([self._decoder.types.code(event.event_type) for event in events], np.int64),
            times,
            np.maximum.accumulate(np.maximum(times - times[0], 0)) // DAY_MS,
            np.array(
                [NO_SESSION if event.session_id is None else sessions.number(event.session_id) for event in events]
            ),
            self._news(),
            dict(self._left_out),
        )

    def _news(self) -> list[ItemNews]:
        """Each before the first event that Kafka had not yet when it had the item."""
        arrived = np.maximum.accumulate([moment for _, moment, _ in self._events])
        self._items.sort(key=lambda told: told[:3])
        before = np.searchsorted(arrived, [told[0] for told in self._items], side="left").tolist()
        return [ItemNews(at, *told[3:]) for at, told in zip(before, self._items, strict=True)]


class _Numbers:
    """Numbers for names, in order of their first appearance."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        found = self._numbers.setdefault(name, len(self.names))
        if found == len(self.names):
            self.names.append(name)
        return found


async def read_topics(kafka: KafkaSettings, decoder: Decoder) -> EventLog:
    """Everything that stands in `events` and `items` now.

    Raises LogError where there is no event, KafkaError where a topic or the broker is missing.
    """
    found = TopicLog(decoder)
    async for records in read_topic(kafka, kafka.topic_prefix + EVENTS):
        for record in records:
            found.event(record)
    async for records in read_topic(kafka, kafka.topic_prefix + ITEMS):
        for record in records:
            found.item(record)
    return found.log()
