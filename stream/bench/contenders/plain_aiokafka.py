"""The ceiling: a loop over aiokafka's fetches, states in a dict, one batch per partition. It recovers nothing."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import ConsumerRecord

from stream.bench.contenders.job import BadEventError, Job, Task, calm_collector, read_task

BATCH_BYTES = 512 * 1024

Fetched = Mapping[TopicPartition, Sequence[ConsumerRecord]]


class Outbox:
    """Producer batches by topic and partition."""

    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer
        self._batches: dict[tuple[str, int], list[BatchBuilder]] = {}

    def add(self, topic: str, partition: int, key: bytes, value: bytes, headers: list[tuple[str, bytes]]) -> None:
        """One more record."""
        batches = self._batches.setdefault((topic, partition), [])
        record = {"key": key, "value": value, "timestamp": None, "headers": headers}
        if not batches or batches[-1].append(**record) is None:
            batches.append(self._producer.create_batch())
            batches[-1].append(**record)

    async def deliver(self) -> None:
        """Sends everything and waits until Kafka has it."""
        sent = [
            await self._producer.send_batch(batch, topic, partition=partition)
            for (topic, partition), batches in self._batches.items()
            for batch in batches
        ]
        await asyncio.gather(*sent)


class Answering:
    """The states, and what becomes of fetched records."""

    def __init__(self, task: Task) -> None:
        self._task, self._job = task, Job(task)
        self._states: dict[bytes, bytes] = {}  # packed: objects would be the collector's to look at

    def answer(self, fetched: Fetched, outbox: Outbox) -> None:
        """Folds records into states; adds changelog rows, lists and dead letters."""
        task, job, states = self._task, self._job, self._states
        for tp, records in fetched.items():
            partition = tp.partition
            for record in records:
                key, offset, moment = record.key, record.offset, record.timestamp
                try:
                    event = job.event(record.value, moment)
                except BadEventError as problem:
                    headers = job.letter_headers(problem, partition, offset)
                    outbox.add(task.dead_letters, partition, key, record.value, headers)
                    continue
                state = job.unpack(states.get(key))
                job.advance(state, event, offset, moment)
                states[key] = row = job.pack(state)
                outbox.add(task.changelog, partition, key, row, [])
                outbox.add(task.recommendations, partition, key, job.message(state, event, partition), [])


async def main() -> None:
    """Takes what waits, answers it, awaits all deliveries, commits once a second."""
    task = read_task()
    answering = Answering(task)
    producer = AIOKafkaProducer(
        bootstrap_servers=task.servers, acks="all", enable_idempotence=True, linger_ms=0, max_batch_size=BATCH_BYTES
    )
    consumer = AIOKafkaConsumer(
        task.events,
        bootstrap_servers=task.servers,
        group_id=task.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await producer.start()
    await consumer.start()
    calm_collector()
    committed = loop.time()
    while not stop.is_set():
        fetched = await consumer.getmany(timeout_ms=100)
        outbox = Outbox(producer)
        answering.answer(fetched, outbox)
        await outbox.deliver()
        if loop.time() - committed > task.commit_seconds:
            await consumer.commit()
            committed = loop.time()
    await consumer.stop()
    await producer.stop()


if __name__ == "__main__":
    asyncio.run(main())
