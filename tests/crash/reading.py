"""Reads topics as they grow, with librdkafka: each record once, however often one asks."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

AT_ONCE = 5_000
TURN = 0.1  # librdkafka waits so long for as many, though fewer are there
SILENCE = 10.0  # then a new connection is tried
PATIENCE = 180.0  # rides out the restart of a broker

Answer = TypeVar("Answer")


class Topic:
    """A topic from its beginning; `ends` says how far it goes now, `read_to` reads on from where it stood."""

    def __init__(self, servers: str, name: str) -> None:
        self.name = name
        self._servers = servers
        self._read: dict[int, int] = {}
        self._held: list[Message] = []  # read already, behind the ends asked for
        self._consumer = self._connected()
        described = self._patiently(lambda: self._consumer.list_topics(name, 10).topics[name].partitions)
        self.partitions = sorted(described)
        self._read = dict.fromkeys(self.partitions, 0)
        self._connect()

    def ends(self) -> dict[int, int]:
        """The end of each partition now."""
        return self._patiently(lambda: {number: self._end(number) for number in self.partitions})

    def read_to(self, ends: dict[int, int]) -> Iterator[Message]:
        """Records up to `ends`, each partition in order. Fails when they do not come."""
        held, self._held = self._held, []
        yield from self._up_to(ends, held)
        heard = connected = time.monotonic()
        while any(self._read[number] < end for number, end in ends.items()):
            now = time.monotonic()
            assert now - heard < PATIENCE, f"{self.name} does not end: {self._read} of {ends}"
            messages = self._consumer.consume(AT_ONCE, TURN)
            if messages:
                connected = now
            elif now - connected > SILENCE:
                self._connect()
                connected = now
            for message in messages:
                error = message.error()
                if error is None:
                    heard = now
                    yield from self._up_to(ends, [message])
                elif error.name() == "_PARTITION_EOF":  # behind what takes offsets and is no record
                    self._read[message.partition()] = max(self._read[message.partition()], message.offset())

    def close(self) -> None:
        """Reads no more."""
        self._consumer.close()

    def _connect(self) -> None:
        """A client anew: one that has met a broker just back may believe for long that there is no such topic."""
        self._consumer.close()
        self._consumer = self._connected()

    def _connected(self) -> Consumer:
        consumer = Consumer(
            {"bootstrap.servers": self._servers, "group.id": uuid.uuid4().hex, "enable.auto.commit": False,
             "enable.partition.eof": True, "auto.offset.reset": "earliest", "log_level": 0,
             "queued.max.messages.kbytes": 16_384}
        )  # fmt: skip
        consumer.assign([TopicPartition(self.name, number, offset) for number, offset in self._read.items()])
        return consumer

    def _up_to(self, ends: dict[int, int], messages: list[Message]) -> Iterator[Message]:
        """What lies behind the ends is kept for the next time."""
        for message in messages:
            number, offset = message.partition(), message.offset()
            self._read[number] = max(self._read[number], offset + 1)
            if offset < ends[number]:
                yield message
            else:
                self._held.append(message)

    def _end(self, number: int) -> int:
        return int(self._consumer.get_watermark_offsets(TopicPartition(self.name, number), 10)[1])

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        """The answer, asked for again while the broker is away."""
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                return ask()
            except KafkaException:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.5)
                self._connect()
