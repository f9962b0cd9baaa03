"""Messages to Kafka in batches by partition, every delivery checked."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from stream.kafka import admin_client
from stream.settings import KafkaSettings
from stream.wire.messages import Scalar
from stream.wire.partitioner import PARTITIONERS, murmur2_partition
from stream.wire.topics import EVENTS, ITEMS, RECOMMENDATIONS, TopicsError

REMEMBERED_KEYS = 1 << 20  # murmur2 in Python costs more than all else about a message; 2^20 keys take about 150 MB


class Message(NamedTuple):
    """A record to be: topic, key, value; a None value is a tombstone."""

    topic: str
    key: bytes
    value: bytes | None


class OutgoingEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event as the shop writes it, without the fields that it has not; `timestamp` is epoch milliseconds."""

    user_id: str
    item_id: str
    event_type: str
    event_id: str
    timestamp: int
    session_id: str | None = None
    quantity: float | None = None
    price: float | None = None
    currency: str | None = None
    recommendation_id: str | None = None
    context: dict[str, Scalar] | None = None


async def cluster_with_topics(kafka: KafkaSettings) -> str:
    """The cluster's id, once it is sure that the shop's topics are there. Raises TopicsError, KafkaError."""
    async with admin_client(kafka) as admin:
        existing = set(await admin.list_topics())
        for name in (EVENTS, ITEMS, RECOMMENDATIONS):
            if kafka.topic_prefix + name not in existing:
                raise TopicsError(f"topic {kafka.topic_prefix + name} is missing: run `alluvium topics`")
        return str((await admin.describe_cluster()).get("cluster_id"))


class Delivery:
    """Sends messages to the partitions that their keys belong to, in order for each partition."""

    def __init__(self, producer: AIOKafkaProducer, kafka: KafkaSettings) -> None:
        self._producer = producer
        self._partition = PARTITIONERS[kafka.partitioner] or murmur2_partition
        self._counts: dict[str, int] = {}
        self._known: dict[tuple[int, bytes], int] = {}

    async def send(self, messages: Sequence[Message]) -> asyncio.Future[list[object]]:
        """Hands messages over; the result is done when Kafka has acknowledged every one, and fails if one failed."""
        by_partition: dict[tuple[str, int], list[Message]] = defaultdict(list)
        for message in messages:
            by_partition[message.topic, await self._partition_of(message)].append(message)
        handed = [self._send_partition(*place, batch) for place, batch in by_partition.items()]
        deliveries = [delivery for batches in await asyncio.gather(*handed) for delivery in batches]
        return asyncio.gather(*deliveries)

    async def _partition_of(self, message: Message) -> int:
        count = self._counts.get(message.topic)
        if count is None:
            count = self._counts[message.topic] = len(await self._producer.partitions_for(message.topic))
        place = (count, message.key)
        partition = self._known.get(place)
        if partition is None:
            if len(self._known) >= REMEMBERED_KEYS:
                self._known.clear()
            partition = self._known[place] = self._partition(message.key, count)
        return partition

    async def _send_partition(
        self, topic: str, partition: int, messages: list[Message]
    ) -> list[asyncio.Future[object]]:
        sent = []
        builder = self._producer.create_batch()
        for message in messages:
            if not _append(builder, message):
                sent.append(await self._producer.send_batch(builder, topic, partition=partition))
                builder = self._producer.create_batch()
                if not _append(builder, message):
                    raise ValueError(
                        f"a message for {topic} does not fit into a batch: {len(message.value or b'')} bytes"
                    )
        sent.append(await self._producer.send_batch(builder, topic, partition=partition))
        return sent


def _append(builder: BatchBuilder, message: Message) -> bool:
    return builder.append(key=message.key, value=message.value, timestamp=None) is not None
