"""Messages to Kafka in batches by partition, every delivery checked."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import msgspec
import numpy as np
from aiokafka import AIOKafkaProducer

from stream.kafka import admin_client
from stream.settings import KafkaSettings
from stream.shop.event_lot import EventLot
from stream.wire.messages import Scalar
from stream.wire.partitioner import partitions_of
from stream.wire.record_batches import MadeBatch, record_batches
from stream.wire.topics import EVENTS, ITEMS, RECOMMENDATIONS, TopicsError

BATCH_BYTES = 1 << 18
REMEMBERED_KEYS = 1 << 20  # of each topic; they take about 100 MB


class Message(NamedTuple):
    """A record to be: topic, key, value; a None value is a tombstone."""

    topic: str
    key: bytes
    value: bytes | None


Record = tuple[str, bytes, bytes | None]  # what a Message is


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
        self._partitioner = "murmur2" if kafka.partitioner == "any" else kafka.partitioner
        self._compression = kafka.compression
        self._known: dict[str, dict[bytes, int]] = {}

    async def send(self, messages: Sequence[Record]) -> asyncio.Future[list[object]]:
        """Hands messages over; the result is done when Kafka has acknowledged every one, and fails if one failed."""
        by_place: dict[tuple[str, int], list[Record]] = {}
        for topic, run in groupby(messages, itemgetter(0)):
            group = [*run]
            known = await self._partitions(topic, [key for _topic, key, _value in group])
            by_partition: dict[int, list[Record]] = defaultdict(list)
            for message in group:
                by_partition[known[message[1]]].append(message)
            for partition, batch in by_partition.items():
                by_place.setdefault((topic, partition), []).extend(batch)
        handed = [self._send_partition(*place, batch) for place, batch in by_place.items()]
        deliveries = [delivery for batches in await asyncio.gather(*handed) for delivery in batches]
        return asyncio.gather(*deliveries)

    async def send_lot(self, topic: str, lot: EventLot) -> asyncio.Future[list[object]]:
        """The same for events as columns."""
        count = len(await self._producer.partitions_for(topic))
        keys = [user.encode() for user in lot.events.users.texts.to_pylist()]
        partitions = np.array(partitions_of(self._partitioner, keys, count), np.int16)[lot.events.users.codes]
        messages = lot[np.argsort(partitions, kind="stable")].messages()
        counts = np.bincount(partitions, minlength=count)
        now = int(time.time() * 1000)
        batches = record_batches(*messages, counts, timestamp=now, max_bytes=BATCH_BYTES, codec=self._compression)
        handed = [self._send_batches(topic, partition, made) for partition, made in enumerate(batches)]
        return asyncio.gather(*[delivery for sent in await asyncio.gather(*handed) for delivery in sent])

    async def _send_batches(self, topic: str, partition: int, batches: list[MadeBatch]) -> list[asyncio.Future[object]]:
        return [await self._producer.send_batch(batch, topic, partition=partition) for batch in batches]

    async def _partitions(self, topic: str, keys: Sequence[bytes]) -> dict[bytes, int]:
        """The partitions of a topic's keys, these and those that came before."""
        known = self._known.setdefault(topic, {})
        if len(known) > REMEMBERED_KEYS:
            known.clear()
        new = [key for key in dict.fromkeys(keys) if key not in known]
        if new:
            count = len(await self._producer.partitions_for(topic))
            known.update(zip(new, partitions_of(self._partitioner, new, count) or (), strict=True))
        return known

    async def _send_partition(self, topic: str, partition: int, messages: list[Record]) -> list[asyncio.Future[object]]:
        sent = []
        builder = self._producer.create_batch()
        for _topic, key, value in messages:
            if builder.append(timestamp=None, key=key, value=value) is None:
                sent.append(await self._producer.send_batch(builder, topic, partition=partition))
                builder = self._producer.create_batch()
                if builder.append(timestamp=None, key=key, value=value) is None:
                    raise ValueError(f"a message for {topic} does not fit into a batch: {len(value or b'')} bytes")
        sent.append(await self._producer.send_batch(builder, topic, partition=partition))
        return sent
