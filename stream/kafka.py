"""The edge to Kafka that every process shares: client settings, waiting for the broker, following compacted topics."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
from aiokafka.structs import ConsumerRecord

import stream.fetched  # readers that no record stops
import stream.produced  # noqa: F401  (requests that are copied less)
from stream.giving_way import give_way
from stream.logs import Log, quiet
from stream.settings import KafkaSettings

RETRY_SECONDS = 10.0
PATIENCE_SECONDS = 120.0  # rides out the restart of a broker; 30 s does not
PRODUCER_BYTES = 8 << 20
FOLLOWER_WAIT = 1_000  # ms at the broker, which answers at once when there is news: idle processes ask seldom
COMMITTED, UNCOMMITTED = "read_committed", "read_uncommitted"  # whether records of an aborted transaction count
WATCH_SECONDS = 2.0
WATCH_PATIENCE_MS = 5_000
AT_ONCE = 128  # records that are taken in before others may run: some milliseconds

FORBIDDEN = (TopicAuthorizationFailedError, GroupAuthorizationFailedError, TransactionalIdAuthorizationFailed)

Result = TypeVar("Result")


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments of every aiokafka client."""
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers.split(","),
        "security_protocol": kafka.security_protocol,
    }
    if kafka.security_protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": kafka.sasl_password,
        }
    context = ssl_context(kafka)
    if context is not None:
        options["ssl_context"] = context
    return options


def producer_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments of every aiokafka producer."""
    return client_options(kafka) | {"compression_type": None if kafka.compression == "none" else kafka.compression}


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext | None:
    """The TLS context the settings ask for, None for an unencrypted listener."""
    if not kafka.security_protocol.endswith("SSL"):
        return None
    context = ssl.create_default_context(cafile=kafka.ssl_cafile or None)
    if kafka.ssl_certfile:
        # An empty password, not None: a service asks nobody for one at the terminal.
        context.load_cert_chain(kafka.ssl_certfile, kafka.ssl_keyfile or None, kafka.ssl_key_password)
    return context


@asynccontextmanager
async def admin_client(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A connected admin client. Raises KafkaError when no broker answers."""
    admin = AIOKafkaAdminClient(**client_options(kafka))
    try:
        with quiet("aiokafka"):  # the caller says it in its own words
            await admin.start()
        yield admin
    finally:
        await admin.close()


@asynccontextmanager
async def producer(kafka: KafkaSettings, **options: object) -> AsyncIterator[AIOKafkaProducer]:
    """A connected idempotent producer; what was sent is flushed at the end."""
    defaults: dict[str, object] = {
        "enable_idempotence": True,
        "acks": "all",
        "linger_ms": 5,
        "max_request_size": PRODUCER_BYTES,
    }
    client = await started(AIOKafkaProducer(**(producer_options(kafka) | defaults | options)))
    try:
        yield client
    finally:
        await client.stop()


@asynccontextmanager
async def reader(
    kafka: KafkaSettings, *, patience_seconds: float = 0.0, **options: object
) -> AsyncIterator[AIOKafkaConsumer]:
    """A connected consumer without a group and, yet, without partitions; the connection is tried for for so long."""
    client = await patiently(partial(_connected_reader, kafka, options), patience_seconds)
    try:
        yield client
    finally:
        await client.stop()


async def _connected_reader(kafka: KafkaSettings, options: dict[str, object]) -> AIOKafkaConsumer:
    defaults: dict[str, object] = {
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "fetch_max_wait_ms": 100,
    }
    return await started(AIOKafkaConsumer(**(client_options(kafka) | defaults | options)))


async def started(client: Any) -> Any:  # noqa: ANN401  # aiokafka is untyped
    """A consumer or producer once it is connected; one that cannot be is closed. Raises KafkaError."""
    try:
        await client.start()
    except BaseException:
        await client.stop()
        raise
    return client


async def wait_for_broker(kafka: KafkaSettings, log: Log, waiting: Callable[[str], None]) -> None:
    """Returns once a broker answers; until then one line each ten seconds, the same told to `waiting`."""
    while True:
        try:
            async with admin_client(kafka):
                return
        except (KafkaError, OSError) as error:
            reason = f"no Kafka broker answers at {kafka.bootstrap_servers}: {error}"
            waiting(reason)
            log.warning("waiting for Kafka", servers=kafka.bootstrap_servers, error=str(error))
            await asyncio.sleep(RETRY_SECONDS)


async def patiently(work: Callable[[], Awaitable[Result]], patience_seconds: float = PATIENCE_SECONDS) -> Result:
    """The result of `work`, tried again each second while Kafka does not answer, for as long as a producer tries.

    Raises KafkaError after that, at once where access rules forbid it.
    """
    give_up = asyncio.get_running_loop().time() + patience_seconds
    while True:
        try:
            return await work()
        except FORBIDDEN:
            raise
        except (KafkaError, TimeoutError):
            if asyncio.get_running_loop().time() > give_up:
                raise
            await asyncio.sleep(1.0)


class Follower:
    """Reads whole topics from their beginning, without a group, and then follows them.

    `apply` is called for each record in order, `room` awaited now and then before more are taken. `caught_up` is set
    once everything that stood in the topics at the start has been applied; from then on others on the loop go first.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: list[str],
        apply: Callable[[ConsumerRecord], None],
        *,
        isolation: str = UNCOMMITTED,
        room: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.caught_up = asyncio.Event()
        self._kafka, self._isolation = kafka, isolation
        self._topics = topics
        self._apply, self._room = apply, room

    async def run(self) -> None:
        """Follows until cancelled. Raises KafkaError when a topic is missing or the broker refuses."""
        options: dict[str, Any] = {
            "fetch_max_wait_ms": FOLLOWER_WAIT,
            "max_partition_fetch_bytes": PRODUCER_BYTES,
            "fetch_max_bytes": PRODUCER_BYTES,
            "isolation_level": self._isolation,
        }
        async with reader(self._kafka, patience_seconds=PATIENCE_SECONDS, **options) as consumer:
            partitions = await topic_partitions(consumer, *self._topics)
            consumer.assign(partitions)
            behind = {tp: end for tp, end in (await consumer.end_offsets(partitions)).items() if end > 0}
            await consumer.seek_to_beginning(*partitions)
            while True:
                for tp in [tp for tp, end in behind.items() if await consumer.position(tp) >= end]:
                    del behind[tp]
                if not behind:
                    self.caught_up.set()
                found = await consumer.getmany(timeout_ms=FOLLOWER_WAIT, max_records=AT_ONCE)
                await self._take_in([record for records in found.values() for record in records])

    async def _take_in(self, records: list[ConsumerRecord]) -> None:
        before = time.thread_time()
        for record in records:
            self._apply(record)
        worked = time.thread_time() - before
        await (give_way(worked) if self.caught_up.is_set() else asyncio.sleep(0))
        if self._room is not None:
            await self._room()


class LogWatch:
    """Asks a broker, every few seconds and apart from all other clients, where the partitions of topics begin and end.

    `ends` and `beginnings` are its last answers: true also while a consumer that should read them stands still.
    """

    def __init__(self, kafka: KafkaSettings, topics: list[str], told: Callable[[bool], None]) -> None:
        """`told` hears after each question whether there was an answer."""
        self.beginnings: dict[TopicPartition, int] = {}
        self.ends: dict[TopicPartition, int] = {}
        self._kafka, self._topics, self._told = kafka, topics, told

    async def run(self) -> None:
        """Watches until cancelled."""
        while True:
            try:
                async with reader(self._kafka, request_timeout_ms=WATCH_PATIENCE_MS) as consumer:
                    partitions = await topic_partitions(consumer, *self._topics)
                    while True:
                        self.beginnings = await consumer.beginning_offsets(partitions)
                        self.ends = await consumer.end_offsets(partitions)
                        self._told(True)
                        await asyncio.sleep(WATCH_SECONDS)
            except (KafkaError, OSError, TimeoutError):
                self._told(False)
            await asyncio.sleep(WATCH_SECONDS)


async def read_partitions(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], ends: Mapping[TopicPartition, int] | None = None
) -> AsyncIterator[list[ConsumerRecord]]:
    """Everything that stands in the assigned `partitions`, from the consumer's positions to `ends`, the present ones.

    A consumer that counts committed records only takes the first open transaction for the end of a partition; with
    `ends` of `log_ends` it waits until all transactions before these are settled.
    """
    behind: Mapping[TopicPartition, int] = await consumer.end_offsets(partitions) if ends is None else ends
    while True:
        behind = {tp: end for tp, end in behind.items() if await consumer.position(tp) < end}
        if not behind:
            return
        for records in (await consumer.getmany(*behind, timeout_ms=500)).values():
            yield records


async def log_ends(kafka: KafkaSettings, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    """Where partitions end, records of open transactions included."""
    async with reader(kafka) as consumer:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        return ends


async def read_topic(
    kafka: KafkaSettings, topic: str, since_ms: int = 0, *, isolation: str = UNCOMMITTED, settled: bool = False
) -> AsyncIterator[list[ConsumerRecord]]:
    """All that stands in a topic now, each partition in order; `since_ms`: only what was written then or later.

    `settled`: what is in open transactions now too, once these are committed; they are waited for.
    """
    async with reader(kafka, isolation_level=isolation) as consumer:
        partitions = await topic_partitions(consumer, topic)
        consumer.assign(partitions)
        firsts = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms)) if since_ms else {}
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        for partition, first in firsts.items():
            consumer.seek(partition, ends[partition] if first is None else first.offset)
        last = await log_ends(kafka, partitions) if settled else None
        async for records in read_partitions(consumer, partitions, last):
            yield records


async def topic_end(kafka: KafkaSettings, topic: str) -> int:
    """How many records were ever written to a topic: the sum of its partitions' ends."""
    async with reader(kafka) as consumer:
        return sum((await consumer.end_offsets(await topic_partitions(consumer, topic))).values())


async def topic_partitions(consumer: AIOKafkaConsumer, *topics: str) -> list[TopicPartition]:
    """The partitions of topics, read anew from the broker. Raises KafkaError when a topic does not exist."""
    # No public call refreshes the metadata of topics that are not subscribed to.
    metadata = await consumer._client.fetch_all_metadata()
    found = []
    for topic in topics:
        numbers = metadata.partitions_for_topic(topic)
        if not numbers:
            raise KafkaError(f"topic {topic} does not exist: run `alluvium topics`")
        found += [TopicPartition(topic, number) for number in sorted(numbers)]
    return found
