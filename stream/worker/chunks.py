"""Chunks: consecutive records of one partition, which go through Faust as one message, small ones together.

Each override is named and explained in `stream.worker.faust_fixes`, which pins the source that it was written against.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Any

from aiokafka.structs import ConsumerRecord
from faust import Schema
from faust.transport.drivers import aiokafka as driver
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread as PollThread
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP, ConsumerMessage

from stream.worker.pace import IDLE_MILLISECONDS, Pace

CHUNK = 128  # records in a message: a busy partition cannot keep the others waiting for long
CHUNK_BYTES = 128 << 10  # and no more than these, but for one larger record: a thousand messages wait in memory
VALUE_SIZE = attrgetter("serialized_value_size")
LONGEST_HOLE = 100_000  # offsets that are acknowledged one by one; over a longer hole the commit jumps

Records = list[ConsumerRecord]


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


def fits(chunks: Sequence[Sequence[ConsumerRecord]], more: Sequence[ConsumerRecord]) -> bool:
    """Whether a message of these chunks may take one more."""
    together = (*chunks, more)
    if sum(map(len, together)) > CHUNK:
        return False
    return sum(sum(map(VALUE_SIZE, chunk)) for chunk in together) <= CHUNK_BYTES


def partition_of(chunk: Sequence[ConsumerRecord]) -> TP:
    """Where the records of a chunk stand."""
    return TP(chunk[0].topic, chunk[0].partition)


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
    """Turns lists of records into messages, whose value is a list of chunks, and acknowledges all their offsets."""

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **more)
        self._holes: dict[tuple[TP, int], int] = {}  # first record behind a hole: where the hole starts
        self._resumed: dict[TP, int | None] = {}

    def _new_consumer_thread(self) -> ChunkThread:
        return ChunkThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:  # noqa: ANN401
        if type(record) is not list:
            return super()._to_message(tp, record)
        last = record[-1]
        return ConsumerMessage(
            last.topic, last.partition, last.offset, (last.timestamp or 0) / 1000, last.timestamp_type, (),
            None, [record], None, 0, 0, tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:
        """Upstream's, which yields what one poll has brought without a pause; small chunks come in one message.

        A message costs Faust some 130 µs, and at a pace a poll brings one or two records of each partition.
        """
        held: Any = None
        async for tp, message in super().getmany(timeout):
            if type(message.value) is not list:
                yield tp, message
                continue
            read, last = self._read_offset[tp], message.offset
            if read is not None and last < read:
                continue  # as upstream does with what was read before
            if held is not None and fits(held.value, message.value[0]):
                held.value += message.value
                self._read_offset[tp] = last
                continue
            if held is not None:
                yield held.tp, held
            held = message
            self._read_offset[tp] = last - 1  # or the drain loop books a chunk as a gap, in an interval tree
        if held is not None:
            yield held.tp, held

    def ack(self, message: Any) -> bool:  # noqa: ANN401
        """Acknowledges a message; of its chunks all offsets, and those of a hole before the first one."""
        known = message.acked
        done: bool = super().ack(message)
        if type(message.value) is list and not known:
            for chunk in message.value:
                self._ack_chunk(chunk, first=done and chunk is message.value[0])
        return done

    def _ack_chunk(self, chunk: Sequence[ConsumerRecord], *, first: bool) -> None:
        """The last offset as upstream does, but for the first chunk, of which it was done; then those before it."""
        tp, begin, last = partition_of(chunk), chunk[0].offset, chunk[-1].offset
        if not first:
            committed = self._committed_offset[tp]
            if last in self._acked_index[tp] or (committed is not None and last < committed):
                return
            self._acked_index[tp].add(last)
            self._acked[tp].append(last)
        start = self._holes.pop((tp, begin), begin)
        if begin - start > LONGEST_HOLE:
            self._committed_offset[tp] = start = begin
        self._acked[tp].extend(range(start, last))

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

    def verify_recovery_event_path(self, now: float, tp: TP) -> None:
        """Says nothing: Faust fetches no rows, `StateTable.load` has read them."""


class ChunkTransport(driver.Transport):  # type: ignore[misc]  # Faust is untyped to us
    """Faust's transport with our consumer."""

    Consumer = ChunkConsumer


class Untouched(Schema):  # type: ignore[misc]  # Faust is untyped to us
    """The agent gets the records as they are: decoding, and what to do with bad input, is ours."""

    def loads_key(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> None:  # noqa: ANN401
        """No key: a chunk has many."""

    def loads_value(self, app: Any, message: Any, *, loads: Any = None, serializer: Any = None) -> list[Records]:  # noqa: ANN401, ARG002
        """The chunks."""
        chunks: list[Records] = message.value
        return chunks
