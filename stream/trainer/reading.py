"""The trainer's reader of `events`: its own offsets, no group, every event once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from stream.failpoints import failpoint
from stream.kafka import PATIENCE_SECONDS, reader, topic_partitions
from stream.knowledge.manifest import PartitionSpan
from stream.logs import Log
from stream.settings import KafkaSettings
from stream.state.user_state import with_event_id
from stream.wire.decoding import Decoder, Rejection
from stream.wire.messages import Event

MOST_ARRIVALS = 500_000  # events that wait while a refresh runs; then reading waits too
MOST_USERS = 200_000  # users whose event ids are remembered: a producer's retry comes within seconds


class Arrival(NamedTuple):
    """An event on its way into the window. `is_new`: the parent artifact has not learned from it."""

    is_new: bool
    event: Event
    partition: int
    offset: int


class RecentIds:
    """Tells repeated event ids as the fold of user state does: among the last of each user on each partition."""

    def __init__(self, users: int = MOST_USERS) -> None:
        self._users = users
        self._recent: dict[tuple[int, str], bytes] = {}

    def is_repeated(self, partition: int, user_id: str, event_id: str) -> bool:
        """Whether this id was among the user's last ones; remembers it when it was not."""
        key = (partition, user_id)
        recent = self._recent.pop(key, b"")
        longer = with_event_id(recent, event_id)
        self._recent[key] = recent if longer is None else longer  # at the end: the user seen last is forgotten last
        if longer is None:
            return True
        if len(self._recent) > self._users:
            del self._recent[next(iter(self._recent))]
        return False


class EventReader:
    """Reads `events` from where the parent's window begins and goes on with what comes.

    What the parent's window holds is read again first, of all partitions, so that it stands before everything new;
    `reread` is set then. `positions` are the next offsets to be read, `lags` how many records stand behind them.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, decoder: Decoder, log: Log) -> None:
        self.positions: dict[int, int] = {}
        self.lags: dict[int, int] = {}
        self.reread = asyncio.Event()
        self._kafka, self._topic, self._decoder, self._log = kafka, topic, decoder, log
        self._arrivals: list[Arrival] = []
        self._held: dict[int, list[ConsumerRecord]] = {}
        self._until: dict[int, int] = {}
        self._ids = RecentIds()

    @property
    def waiting(self) -> int:
        """Events read and not yet taken."""
        return len(self._arrivals)

    def take(self) -> tuple[list[Arrival], dict[int, int]]:
        """What has arrived, the new after the old and each in order of event time, and the positions behind it."""
        arrivals, self._arrivals = self._arrivals, []
        arrivals.sort(key=lambda arrival: (arrival.is_new, arrival.event.timestamp))
        return arrivals, dict(self.positions)

    async def run(self, learned: Mapping[int, PartitionSpan]) -> None:
        """Reads until cancelled; `learned` is the parent's window by partition.

        Raises KafkaError where the topic is missing or the broker refuses.
        """
        async with reader(self._kafka, patience_seconds=PATIENCE_SECONDS, fetch_max_wait_ms=200) as consumer:
            partitions = await topic_partitions(consumer, self._topic)
            consumer.assign(partitions)
            await self._seek(consumer, partitions, learned)
            while True:
                if self.waiting >= MOST_ARRIVALS:
                    await asyncio.sleep(0.1)
                    continue
                for partition, records in (await consumer.getmany(timeout_ms=200)).items():
                    failpoint("read.window")
                    self._take_in(consumer, partition, records)
                    await asyncio.sleep(0)
                self._follow_on(consumer, partitions)

    async def _seek(
        self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition], learned: Mapping[int, PartitionSpan]
    ) -> None:
        beginnings = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        if any(span.end > ends.get(TopicPartition(self._topic, n), 0) for n, span in learned.items()):
            self._log.warning("the log ends before the parent's window: it is another log, read from its beginning")
            learned = {}
        for partition in partitions:
            span = learned.get(partition.partition)
            start = max(beginnings[partition], span.start if span else 0)
            consumer.seek(partition, start)
            self.positions[partition.partition] = start
            if span and span.end > start:
                self._until[partition.partition] = span.end
        known = sum(end - self.positions[number] for number, end in self._until.items())
        behind = sum(ends[partition] - self.positions[partition.partition] for partition in partitions)
        self._log.info("events to read", known=known, new=behind - known, before=sum(self.positions.values()))
        self._follow_on(consumer, partitions)

    def _take_in(self, consumer: AIOKafkaConsumer, partition: TopicPartition, records: list[ConsumerRecord]) -> None:
        number = partition.partition
        if self.reread.is_set():
            self._add(number, records, is_new=True)
            return
        until = self._until.get(number, 0)
        self._add(number, [record for record in records if record.offset < until], is_new=False)
        self._held.setdefault(number, []).extend(record for record in records if record.offset >= until)
        if records[-1].offset + 1 >= until:
            self._until.pop(number, None)
            consumer.pause(partition)

    def _follow_on(self, consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> None:
        if not self._until and not self.reread.is_set():
            self.reread.set()
            for number, records in self._held.items():
                self._add(number, records, is_new=True)
            self._held.clear()
            consumer.resume(*partitions)
        for partition in partitions:
            end = consumer.highwater(partition)
            self.lags[partition.partition] = max(0, (end or 0) - self.positions[partition.partition])

    def _add(self, partition: int, records: list[ConsumerRecord], *, is_new: bool) -> None:
        for record in records:
            self.positions[partition] = record.offset + 1
            event = self._decoder.event(record.value, record.timestamp)
            if isinstance(event, Rejection):
                continue  # a worker writes its dead letter
            if event.event_id and self._ids.is_repeated(partition, event.user_id, event.event_id):
                continue
            self._arrivals.append(Arrival(is_new, event, partition, record.offset))
