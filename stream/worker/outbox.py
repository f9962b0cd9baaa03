"""What a micro-batch writes: one producer batch per topic and partition, all deliveries awaited."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition

from stream.kafka import PATIENCE_SECONDS, client_options, started
from stream.settings import KafkaSettings
from stream.wire.gathered import GatheredBatch, Headers

BATCH_BYTES = 512 * 1024  # half of what Kafka's topics take by default; a larger record gets a batch of its own


class Delivered(NamedTuple):
    """Where the last record for a topic's partition stands, and how many there were."""

    offset: int
    records: int


async def start_producer(kafka: KafkaSettings) -> AIOKafkaProducer:
    """A connected producer that retries without repeating (idempotent, acks=all)."""
    producer = AIOKafkaProducer(
        **client_options(kafka),
        enable_idempotence=True,
        acks="all",
        linger_ms=0,
        request_timeout_ms=int(PATIENCE_SECONDS * 1000),
    )
    return await started(producer)


class Outbox:
    """Records of one micro-batch; nothing is sent before `deliver`."""

    def __init__(self, producer: AIOKafkaProducer, compression: str) -> None:
        self._producer, self._compression = producer, compression
        self._now = time.time_ns() // 1_000_000
        self._batches: dict[TopicPartition, list[GatheredBatch]] = {}

    def add(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers | None = None
    ) -> None:
        """One more record, behind those added before it."""
        batches = self._of(topic, partition)
        if not batches[-1].add(key, value, headers):
            batches.append(self._empty())
            batches[-1].add(key, value, headers)

    def add_all(self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes]]) -> None:
        """`add` for each key and value."""
        batches = self._of(topic, partition)
        while (fitting := batches[-1].add_all(records)) < len(records):
            records = records[fitting:]
            batches.append(self._empty())

    async def deliver(self) -> dict[TopicPartition, Delivered]:
        """Sends everything and returns once Kafka has all of it. Raises KafkaError if it has not."""
        partitions = list(self._batches)
        delivered = await asyncio.gather(*(self._deliver(tp, self._batches[tp]) for tp in partitions))
        return dict(zip(partitions, delivered, strict=True))

    def _empty(self) -> GatheredBatch:
        return GatheredBatch(BATCH_BYTES, self._now, self._compression)

    def _of(self, topic: str, partition: int) -> list[GatheredBatch]:
        """The batches of a partition; the last one takes more."""
        batches = self._batches.get((topic, partition))  # which a TopicPartition equals
        if batches is None:
            batches = self._batches[TopicPartition(topic, partition)] = [self._empty()]
        return batches

    async def _deliver(self, tp: TopicPartition, batches: list[GatheredBatch]) -> Delivered:
        deliveries = [await self._producer.send_batch(batch, tp.topic, partition=tp.partition) for batch in batches]
        written = await asyncio.gather(*deliveries)
        count = sum(batch.record_count() for batch in batches)
        return Delivered(written[-1].offset + batches[-1].record_count() - 1, count)
