"""The Faust app: one agent over `events` and `requests`, one table, and how its failures end the process."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeVar

import faust
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord
from faust.types import TP

from stream.kafka import patiently, ssl_context
from stream.logs import Log
from stream.settings import KafkaSettings, Settings
from stream.state.table import StateTable
from stream.wire.topics import EVENTS, REQUESTS, changelog_name
from stream.worker.batch import Chunk
from stream.worker.chunks import ChunkTransport, Untouched, partition_of, whole_fetches
from stream.worker.contiguity import Contiguity, check_jump
from stream.worker.faust_fixes import GuardedTableManager, check_version, known_partitions
from stream.worker.taking import take_waiting

TAKE = 8  # messages in a micro-batch: a thousand events at most, whose lists the processor still has near
BUFFER = 1_024  # messages that wait in memory
UNSETTLED = 256  # messages at most that wait for letters

Half = TypeVar("Half")

log = Log("alluvium.worker")


class Step(Protocol[Half]):
    """A micro-batch's two halves; the second is entered once at a time, in the order of the first."""

    async def prepare(self, chunks: Sequence[Chunk], generation: int, mend: Collection[int]) -> Half:
        """All but what others see. `mend`: partitions whose newest rows are written once more, as those of chunks."""

    async def deliver(self, prepared: Half) -> bool:
        """Whether its lists and rows stand in Kafka; False if it must be taken again."""

    async def write_letters(self, prepared: Half) -> None:
        """Returns once its dead letters stand. Entered beside `deliver`, and not waited for by those behind it."""


class Mends(Protocol):
    """Reads partitions of the changelog although no event comes."""

    async def read(self, partitions: Iterable[int]) -> list[int]:
        """Those whose newest rows must be written once more; nothing is on its way to the changelog meanwhile."""


class WorkerApp(faust.App):  # type: ignore[misc]  # Faust is untyped to us
    """A Faust app that keeps no directory: its state is in Kafka."""

    def _create_directories(self) -> None:
        """None are needed."""


def build_app(settings: Settings, url: str) -> WorkerApp:
    """The app; `url` must be another one for each worker, it is how Faust's assignor tells them apart."""
    check_version(allow_other=settings.worker.allow_other_faust)
    kafka = settings.kafka
    session = settings.worker.session_timeout_seconds
    app = WorkerApp(
        settings.worker.group_id,
        broker=[f"kafka://{server.strip()}" for server in kafka.bootstrap_servers.split(",")],
        broker_credentials=_credentials(kafka),
        canonical_url=url,
        store="memory://",
        ConsumerScheduler=whole_fetches(frozenset(_taken(kafka))),
        TableManager=GuardedTableManager,
        PartitionAssignor=known_partitions(kafka.partitions),
        agent_supervisor="mode.supervisors.CrashingSupervisor",
        key_serializer="raw",
        value_serializer="raw",
        processing_guarantee="at_least_once",
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=kafka.partitions,
        table_standby_replicas=0,
        stream_buffer_maxsize=BUFFER,
        stream_wait_empty=True,
        broker_commit_interval=1.0,
        broker_session_timeout=session,
        broker_heartbeat_interval=min(3.0, session / 3),
        broker_request_timeout=60.0,
        broker_rebalance_timeout=60.0,
        broker_max_poll_interval=300.0,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=1 << 20,
        producer_request_timeout=120.0,
        web_enabled=False,
        autodiscover=False,
    )
    app.transport = ChunkTransport(app.conf.broker_consumer, app, loop=app.loop)
    return app


def add_table(app: WorkerApp, settings: Settings) -> StateTable:
    """User state, on the changelog that `alluvium topics` made."""
    table = StateTable(app, settings.kafka, changelog_name(settings.kafka, settings.worker.group_id))
    app.tables.add(table)
    return table


class Agent:
    """Hands micro-batches to the step and acknowledges them, in order, once everything about them stands in Kafka.

    Those behind one wait for its lists and rows, and only their acknowledgement waits for its letters.
    """

    def __init__(
        self,
        app: WorkerApp,
        settings: Settings,
        step: Step[Any],
        rebalanced: Callable[[], Awaitable[None]],
        mending: Mends,
    ) -> None:
        self.contiguity = Contiguity()
        self._app = app
        self._kafka = settings.kafka
        self._step = step
        self._rebalanced = rebalanced
        self._mending = mending
        self._to_mend: frozenset[int] = frozenset()
        self._arrived = asyncio.Event()
        self._generation: int | None = None
        self._delivery: asyncio.Task[bool] | None = None  # of the micro-batch before
        self._settling: deque[tuple[asyncio.Task[None], int]] = deque()  # of the last ones, with their messages
        channel = app.topic(*_taken(settings.kafka), schema=Untouched(), key_type=None, value_type=None)
        app.agent(channel, name="micro-batches", concurrency=1)(self._run)

    def mend(self, partitions: frozenset[int]) -> None:
        """Soon reads what others have written to these partitions of the changelog, and writes newer rows once more."""
        if partitions:
            self._to_mend = partitions
            self._arrived.set()

    async def _run(self, stream: Any) -> None:  # noqa: ANN401
        stream.enable_acks = False  # or records that nobody has processed are acknowledged when this ends in an error
        try:
            async for events in take_waiting(stream, TAKE, self._arrived):
                await self._micro_batch(stream, events)
                events.clear()  # Faust waits for messages as long as anybody refers to them
        except Exception as error:  # the boundary: whatever it is, nothing of it may be committed
            end_at_once("micro-batch failed", error)
        finally:
            await self._settled()

    async def _micro_batch(self, stream: Any, events: list[Any]) -> None:  # noqa: ANN401
        consumer = self._app.consumer
        generation = self._app.consumer_generation_id
        if generation != self._generation:
            await self._settled()  # what an earlier generation has not delivered must not count
            self._generation = generation
            self.contiguity.forget()
            await self._rebalanced()
        current = [event for event in events if event.message.generation_id == generation]
        if len(current) < len(events):
            consumer.drop(event.message for event in events if event.message.generation_id != generation)
        chunks = []
        for records in chain.from_iterable(event.message.value for event in current):
            await self._check(consumer, records)
            chunks.append(Chunk(records[0].topic, records[0].partition, records))
        mend = await self._read_to_mend()
        if not chunks and not mend:
            return
        prepared = await self._step.prepare(chunks, generation, mend)
        if self._delivery is not None:
            await self._delivery
        await self._settled(most=UNSETTLED - len(current))
        before = self._settling[-1][0] if self._settling else None
        self._delivery = asyncio.create_task(self._step.deliver(prepared))
        ready = asyncio.gather(self._delivery, self._step.write_letters(prepared))
        settling = asyncio.create_task(self._settle(stream, current, generation, ready, before))
        self._settling.append((settling, len(current)))
        await asyncio.sleep(0)  # it begins now: its rows count for the micro-batch behind it

    async def _settle(
        self,
        stream: Any,  # noqa: ANN401
        events: list[Any],
        generation: int,
        ready: Awaitable[tuple[bool, None]],
        before: asyncio.Task[None] | None,
    ) -> None:
        """Acknowledges a micro-batch behind the one before it: Faust takes a later acknowledgement for all.

        Not if it was not delivered, or if the generation has passed meanwhile.
        """
        try:
            delivered, _ = await ready
            if before is not None:
                await before
            if delivered and self._app.consumer_generation_id == generation:
                for event in events:
                    await stream.ack(event)
            else:
                self._app.consumer.drop(event.message for event in events)
        except Exception as error:  # the same boundary
            end_at_once("micro-batch failed", error)

    async def _read_to_mend(self) -> list[int]:
        """Partitions whose changelog must be written although no event has come."""
        wanted, self._to_mend = self._to_mend, frozenset()
        if not wanted:
            return []
        if self._delivery is not None:
            await self._delivery  # its rows would be taken for somebody else's
        return await self._mending.read(wanted)

    async def _settled(self, most: int = 0) -> None:
        """Returns once at most so many messages, of the last micro-batches, are neither acknowledged nor dropped."""
        while self._settling and (self._settling[0][0].done() or sum(size for _, size in self._settling) > most):
            await self._settling.popleft()[0]

    async def _check(self, consumer: Any, records: Sequence[ConsumerRecord]) -> None:  # noqa: ANN401
        place, first = partition_of(records), records[0].offset
        tp = TopicPartition(*place)
        expected = self.contiguity.jump(tp, first, records[-1].offset, consumer.resumed_at(place))
        if expected is not None:
            await patiently(partial(check_jump, self._kafka, tp, expected, first))
            consumer.pass_over(place, expected, first)


def committed_offset(app: WorkerApp, tp: TopicPartition) -> int | None:
    """The offset that the group has committed for a partition."""
    offset: int | None = app.consumer.next_committed(TP(tp.topic, tp.partition))
    return offset


def is_recovered(app: WorkerApp) -> bool:
    """Whether the group has been joined, state has been recovered and events flow."""
    if not app.started or app.rebalancing or app._consumer is None:
        return False
    recovery = app.tables.recovery
    return bool(
        recovery.completed.is_set() and not recovery.signal_recovery_start.is_set() and app.consumer.flow_active
    )


def end_at_once(phrase: str, error: BaseException) -> None:
    """Ends the process without the goodbyes of an orderly stop, which would commit what has not been processed."""
    try:
        raise error
    except BaseException:  # for its traceback in the log
        log.exception(phrase, error=repr(error))
    os._exit(1)


async def watch_for_crash(app: WorkerApp) -> None:
    """Ends the process when any service of Faust has failed."""
    while not app.crashed:
        await asyncio.sleep(0.2)
    end_at_once("Faust failed", app.crash_reason or RuntimeError("for no stated reason"))


def _taken(kafka: KafkaSettings) -> list[str]:
    """The topics that the agent takes records of."""
    return [kafka.topic_prefix + name for name in (EVENTS, REQUESTS)]


def _credentials(kafka: KafkaSettings) -> Any:  # noqa: ANN401
    if kafka.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password,
            mechanism=kafka.sasl_mechanism,
            ssl_context=ssl_context(kafka),
        )
    if kafka.security_protocol == "SSL":
        return faust.SSLCredentials(ssl_context(kafka))
    return None
