"""Reads topics as they grow, with librdkafka: each record once, however often one asks."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

AT_ONCE = 5_000
PATIENCE = 120.0  # rides out the restart of a broker


class Topic:
    """A topic from its beginning; `ends` says how far it goes now, `read_to` reads on from where it stood."""

    def __init__(self, servers: str, name: str) -> None:
        self.name = name
        self._consumer = Consumer(
            {"bootstrap.servers": servers, "group.id": uuid.uuid4().hex, "enable.auto.commit": False,
             "enable.partition.eof": True, "auto.offset.reset": "earliest", "log_level": 2,
             "queued.max.messages.kbytes": 16_384, "message.max.bytes": 16 << 20}
        )  # fmt: skip
        numbers = sorted(_patiently(partial(self._consumer.list_topics, name, 10)).topics[name].partitions)
        self.partitions = numbers
        self._read = dict.fromkeys(numbers, 0)
        self._held: list[Message] = []  # read already, behind the ends asked for
        self._consumer.assign([TopicPartition(name, number, OFFSET_BEGINNING) for number in numbers])

    def ends(self) -> dict[int, int]:
        """The end of each partition now."""
        found = {}
        for number in self.partitions:
            at = TopicPartition(self.name, number)
            found[number] = _patiently(partial(self._consumer.get_watermark_offsets, at, 10))[1]
        return found

    def read_to(self, ends: dict[int, int]) -> Iterator[Message]:
        """Records up to `ends`, each partition in order. Fails when they do not come."""
        held, self._held = self._held, []
        yield from self._up_to(ends, held)
        give_up = time.monotonic() + PATIENCE
        while any(self._read[number] < end for number, end in ends.items()):
            assert time.monotonic() < give_up, f"{self.name} does not end: {self._read} of {ends}"
            for message in self._consumer.consume(AT_ONCE, 1.0):
                error = message.error()
                if error is None:
                    give_up = time.monotonic() + PATIENCE
                    yield from self._up_to(ends, [message])
                elif error.name() == "_PARTITION_EOF":  # behind what takes offsets and is no record
                    self._read[message.partition()] = max(self._read[message.partition()], message.offset())

    def _up_to(self, ends: dict[int, int], messages: list[Message]) -> Iterator[Message]:
        """What lies behind the ends is kept for the next time."""
        for message in messages:
            number, offset = message.partition(), message.offset()
            self._read[number] = max(self._read[number], offset + 1)
            if offset < ends[number]:
                yield message
            else:
                self._held.append(message)

    def close(self) -> None:
        """Reads no more."""
        self._consumer.close()


def _patiently(ask: Callable[[], Any]) -> Any:  # noqa: ANN401
    """The answer, asked for again while the broker is away."""
    give_up = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except KafkaException:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.5)
