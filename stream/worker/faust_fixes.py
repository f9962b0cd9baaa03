"""Everything that changes how Faust behaves, each change with its upstream issue: in this place, or named here.

1. **Whole fetches.** Faust spends 35 to 90 µs on every record between the consumer thread and the agent. Here it is
   handed lists of consecutive records of one partition (`Chunk`s) and treats each as one message: groups, assignment,
   tables, recovery, flow control and commits stay Faust's.
2. **Recovery guard** (upstream #596: events are skipped after recovery and committed all the same). The flow stands
   still until partitions have been sought, and a poll in flight keeps its own copy of the active partitions.
3. **Bulk recovery.** Rows are read by `StateTable.load` once the group has been joined: heartbeats go on meanwhile.
4. **Taking what waits** without a timer and without acknowledging on errors (`stream/worker/taking.py`; upstream #497,
   #527).
5. **Waits of a fetch at the broker**: shorter where nothing comes, longer at a pace (`stream/worker/pace.py`).
6. **Commit before a rebalance.** Faust forgets what was acknowledged since the last commit before it commits: lists of
   up to a second were made and sent again after each join and leave.
7. **Partitions known.** Faust shares only the topics that the client of the group's leader has heard of. One that had
   just been cut off shared nothing, and a whole group stood still until its next look, five minutes later.
8. **Livelock detector silenced**: it logs errors for partitions on which simply nothing happens.

All of it is subclasses handed to Faust's own settings. `PATCHED` pins the source they were written against.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import accumulate
from operator import attrgetter
from typing import Any

from aiokafka.consumer.fetcher import Fetcher
from aiokafka.structs import ConsumerRecord
from faust import Schema
from faust.assignor.partition_assignor import PartitionAssignor
from faust.streams import Stream
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread as PollThread
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP, ConsumerMessage

from stream.state.table import StateTable
from stream.worker.pace import IDLE_MILLISECONDS, Pace

KNOWN_VERSION = "0.15.3"
CHUNK = 128  # records of one partition in a message: a busy partition cannot keep the others waiting for long
CHUNK_BYTES = 128 << 10  # and no more than these, but for one larger record: a thousand messages wait in memory
VALUE_SIZE = attrgetter("serialized_value_size")
LONGEST_HOLE = 100_000  # offsets that are acknowledged one by one; over a longer hole the commit jumps

# SHA-256 of the source of what is overridden or relied on from inside; a test compares.
PATCHED: Mapping[Callable[..., Any], str] = {
    Consumer.getmany: "4b168d84882a70d6e3e2f9804430a63b92f8fd117d3187cbb4aeb54305bda34e",
    Consumer.ack: "5fcf41cf45153475de3790dc56fec1b83335956dc8b3bf7ff6bbb2b57627f03f",
    Consumer._drain_messages: "44a2500309e83c630493f6828af50166ec8d96a0b3e4fb2bab735f704ae93417",
    Consumer.on_partitions_revoked: "d04b7ae72c6fc206924a2879d6c90dd383f3e8ba6f4b10a19ca99a921eb8f4db",
    Consumer.wait_empty: "e4662fe24f094819add590b2d75f233840e77823b432aea6504539768572102f",
    Consumer._new_offset: "1d2c7ea89a7ad4f1a216c1d51936e569162cd66bd56f889e13fd29c910b58eb0",
    Consumer.perform_seek: "0e8c130ff4b0afd82c0be9c5fd831316e10febc62c94032833911096e156d7c6",
    driver.Consumer._to_message: "7c24f6511b2fcef7cbfe73526e78de033bfe0df211f1fd30509d699c9deb6ce4",
    Fetcher._get_actions_per_node: "1dab2cf937d165d0eeacc8da8ed2b0ebd80b321bb6583757e01cdc1013d31635",
    PollThread._fetch_records: "39a2c6c79fc1455a199629912b533458a720c64983bc957420a42feef6593baa",
    PollThread._create_worker_consumer: "c2701bfc3e6f6cad95c2be36d6a255a86e2c57d18d36cc1082b5fb5c482d99d7",
    Recovery.on_recovery_completed: "6ef567acf072e46da3fccbccc6d662371f634f622c3d510972d5df81f70ae3ac",
    Recovery._build_highwaters: "91b4cc0d3724ae7bfc398e873684fc6f667ef8feb61a3b3314346ef11f2823de",
    Recovery._build_offsets: "27eec86be06cb51f66dfd2572be2f9b41acd22c3570239bb5c554bd94e59a1d6",
    TableManager.recovery.fget: "f0bf5de78b4c3d235c3554010480f407010ccb7c481c68852a985542b952df32",
    PartitionAssignor._get_copartitioned_groups: "82b7a3764ad596f67ac9d08bfaf5c857dd0c5001d70b36cb010096443a085138",
    Stream.noack_take: "f2cc2dbfc162d2006c94361c0ed68535c95484020849eb0d4210c1f52c4c430a",
    Stream._enable_passive: "64da8ce9f729e30ea2c6952a4cb55617c1231f82793c4435966a8b811a0f26e8",
}


class UnknownFaustError(RuntimeError):
    """Another release of Faust is installed than the one these changes were measured with.

    Operator action: install the named one, or run the crash tests with yours and set `worker.allow_other_faust`.
    """


def check_version(*, allow_other: bool) -> None:
    """Raises UnknownFaustError unless the installed Faust is the known one or another is allowed."""
    installed = version("faust-streaming")
    if installed != KNOWN_VERSION and not allow_other:
        raise UnknownFaustError(
            f"faust-streaming {installed} is installed; the worker is tested with {KNOWN_VERSION}: install it, or set "
            "worker.allow_other_faust = true once tests/crash pass with yours"
        )


def source_digest(function: Callable[..., Any]) -> str:
    """SHA-256 of a function's source, to notice when upstream changes it."""
    return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()


def whole_fetches(topics: frozenset[str]) -> type[DefaultSchedulingStrategy]:
    """For Faust's `ConsumerScheduler` setting: records of `topics` come in lists, partitions take turns."""

    class WholeFetches(DefaultSchedulingStrategy):  # type: ignore[misc]  # Faust is untyped to us
        def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Any]]:
            """Pairs of a partition and a list of its records; single records for other topics."""
            single = {tp: batch for tp, batch in records.items() if tp.topic not in topics}
            if single:
                yield from super().iterate(single)
            waiting = [(tp, batch, 0) for tp, batch in records.items() if tp.topic in topics]
            while waiting:
                after = []
                for tp, batch, start in waiting:
                    end = chunk_end(batch, start)
                    yield tp, batch[start:end]
                    if end < len(batch):
                        after.append((tp, batch, end))
                waiting = after

    return WholeFetches


def chunk_end(records: Sequence[ConsumerRecord], start: int) -> int:
    """Where the chunk ends that begins at `start`."""
    chunk = records[start : start + CHUNK]
    if sum(map(VALUE_SIZE, chunk)) <= CHUNK_BYTES:
        return start + len(chunk)
    sizes: Iterator[int] = accumulate(map(VALUE_SIZE, chunk))
    return start + max(1, sum(size <= CHUNK_BYTES for size in sizes))


def known_partitions(count: int) -> type[PartitionAssignor]:
    """For Faust's `PartitionAssignor` setting: each topic has so many partitions, whatever a client has heard of it."""

    class KnownPartitions(PartitionAssignor):  # type: ignore[misc]  # Faust is untyped to us
        @classmethod
        def _get_copartitioned_groups(cls, topics: Any, cluster: Any, subscriptions: Any) -> Any:  # noqa: ANN401, ARG003
            return {count: cls._group_co_subscribed(topics, subscriptions)}

    return KnownPartitions


class ChunkThread(PollThread):  # type: ignore[misc]  # Faust is untyped to us
    """The thread that polls Kafka."""

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **more)
        self._pace = Pace()

    def _create_worker_consumer(self, transport: Any) -> Any:  # noqa: ANN401
        """A fetch that finds nothing holds up those of partitions that came later: Faust has it wait for 1.5 s."""
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = IDLE_MILLISECONDS
        return consumer

    async def _fetch_records(
        self,
        consumer: Any,  # noqa: ANN401
        active_partitions: Any,  # noqa: ANN401
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Any:  # noqa: ANN401
        """Upstream #596: the set is live, and once it is empty aiokafka takes it for "all partitions"."""
        if active_partitions is not None:
            active_partitions = frozenset(active_partitions)
            if not active_partitions:
                return {}
        records = await super()._fetch_records(consumer, active_partitions, timeout=timeout, max_records=max_records)
        if records:
            self._pace.keep(consumer._fetcher, sum(map(len, records.values())))
        return records


class ChunkConsumer(driver.Consumer):  # type: ignore[misc]  # Faust is untyped to us
    """Turns lists of records into messages and acknowledges all offsets of a list together."""

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **more)
        self._holes: dict[tuple[TP, int], int] = {}  # first record behind a hole: where the hole starts
        self._resumed: dict[TP, int | None] = {}

    def _new_consumer_thread(self) -> ChunkThread:
        return ChunkThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:  # noqa: ANN401
        if type(record) is not list:
            return super()._to_message(tp, record)
        last, read = record[-1], self._read_offset[tp]
        if read is None or last.offset >= read:
            # Or the drain loop books every chunk as a compaction gap, in an interval tree.
            self._read_offset[tp] = last.offset - 1
        return ConsumerMessage(
            last.topic, last.partition, last.offset, (last.timestamp or 0) / 1000, last.timestamp_type, (),
            None, record, None, 0, 0, tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    def ack(self, message: Any) -> bool:  # noqa: ANN401
        """Acknowledges a message; for a chunk the offsets before its last one too, and a hole before its first one."""
        done: bool = super().ack(message)
        if done and type(message.value) is list:
            tp, first = message.tp, message.value[0].offset
            start = self._holes.pop((tp, first), first)
            if first - start > LONGEST_HOLE:
                self._committed_offset[tp] = start = first
            self._acked[tp].extend(range(start, message.offset))
        return done

    async def perform_seek(self) -> None:
        """Remembers where partitions resume: what Faust knows of that is gone the moment a rebalance begins."""
        await super().perform_seek()
        self._resumed = dict(self._committed_offset)

    def resumed_at(self, tp: TP) -> int | None:
        """What the group had committed for a partition when reading resumed there. None before the first commit."""
        return self._resumed.get(tp)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """What is under way is finished, and committed, before upstream forgets what was acknowledged."""
        if not self.app.should_stop:
            self.stop_flow()
            self.app.flow_control.suspend()
            self.app.flow_control.clear()
            await self.wait_empty()
            # Again: that may merely have waited for a commit which had begun before the last acknowledgement.
            await self.commit()
        await super().on_partitions_revoked(revoked)

    def next_committed(self, tp: TP) -> int | None:
        """What the group has committed for a partition. None before the first commit."""
        committed: int | None = self._committed_offset[tp]
        return committed

    def pass_over(self, tp: TP, start: int, first: int) -> None:
        """No record stands from `start` to before `first` (markers, retention): acknowledged together with `first`."""
        self._holes[tp, first] = start

    def drop(self, messages: Iterable[Any]) -> None:
        """Messages that will not be acknowledged: they are read again, and a rebalance need not wait for them."""
        for message in messages:
            self._unacked_messages.discard(message)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Says nothing: an idle partition is no error, and the start-up probe watches for real trouble."""


class ChunkTransport(driver.Transport):  # type: ignore[misc]  # Faust is untyped to us
    """Faust's transport with our consumer."""

    Consumer = ChunkConsumer


class Untouched(Schema):  # type: ignore[misc]  # Faust is untyped to us
    """The agent gets the records as they are: decoding, and what to do with bad input, is ours."""

    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> None:  # noqa: ANN401
        """No key: a chunk has many."""

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> list[ConsumerRecord]:  # noqa: ANN401, ARG002
        """The list of records."""
        records: list[ConsumerRecord] = message.value
        return records


class GuardedRecovery(Recovery):  # type: ignore[misc]  # Faust is untyped to us
    """Recovery that skips no event and loads state in bulk."""

    async def _build_highwaters(self, consumer: Any, tps: set[TP], destination: Any, title: str) -> None:  # noqa: ANN401
        """The first step after the group was joined, with heartbeats running: the place to load state."""
        if title == "active":
            for table, partitions in list(self.actives_for_table.items()):
                if isinstance(table, StateTable):
                    await table.load(sorted(partitions))
                    for tp in partitions:  # a Counter: its `update` would add
                        self.active_offsets[tp] = table.persisted_offset(tp)
        await super()._build_highwaters(consumer, tps, destination, title)

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Upstream #596: nothing is drained between here and the seek to committed offsets."""
        self.app.consumer.stop_flow()
        await super().on_recovery_completed(generation_id)


class GuardedTableManager(TableManager):  # type: ignore[misc]  # Faust is untyped to us
    """Faust's tables with our recovery."""

    _guarded: GuardedRecovery | None = None

    @property
    def recovery(self) -> GuardedRecovery:
        """The recovery service of this manager."""
        guarded: GuardedRecovery | None = self._guarded
        if guarded is None:
            guarded = self._guarded = GuardedRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
            self._recovery = guarded
        return guarded
