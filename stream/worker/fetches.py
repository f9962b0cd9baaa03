"""What is fetched from Kafka at once, and what of it is one message to Faust; `stream.worker.faust_fixes` says why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from operator import attrgetter
from typing import Any

from aiokafka.consumer.fetcher import Fetcher
from aiokafka.structs import ConsumerRecord
from faust.transport.utils import DefaultSchedulingStrategy
from faust.types import TP

MESSAGE = 1_024  # records in a message, shared out evenly: a busy partition cannot keep the others waiting for long
MESSAGE_BYTES = 1 << 20  # and about these, or one larger record more: some dozens of messages wait in memory
FETCH_WAIT_MILLISECONDS = 250  # at the broker, where nothing comes
GATHER_MILLISECONDS, GATHER_BYTES = 5, 65_536  # where something does: a fetch ends with the first of the two
VALUE_SIZE = attrgetter("serialized_value_size")

Waiting = tuple[TP, list[ConsumerRecord], int]  # a partition, its records, and the first not handed on yet


class Fetched(list[tuple[TP, list[ConsumerRecord]]]):
    """Consecutive records of some partitions, each partition once."""


def whole_fetches(topics: frozenset[str]) -> type[DefaultSchedulingStrategy]:
    """For Faust's `ConsumerScheduler` setting: records of `topics` come together, partitions share the room."""

    class WholeFetches(DefaultSchedulingStrategy):  # type: ignore[misc]  # Faust is untyped to us
        def iterate(self, records: Mapping[TP, list[Any]]) -> Iterator[tuple[TP, Any]]:
            """Pairs of a partition and what is fetched of it and of others; single records for other topics."""
            single = {tp: batch for tp, batch in records.items() if tp.topic not in topics}
            if single:
                yield from super().iterate(single)
            waiting: list[Waiting] = [(tp, batch, 0) for tp, batch in records.items() if tp.topic in topics]
            while waiting:
                fetched, waiting = _message(waiting)
                yield fetched[0][0], fetched

    return WholeFetches


def _message(waiting: Sequence[Waiting]) -> tuple[Fetched, list[Waiting]]:
    """The next message, and what waits after it: those first that had no part in it."""
    fetched, without, rest, size = Fetched(), [], [], 0
    most = -(-MESSAGE // len(waiting))
    for tp, batch, start in waiting:
        if size >= MESSAGE_BYTES:
            without.append((tp, batch, start))
            continue
        part = _within(batch[start : start + most], MESSAGE_BYTES // len(waiting))
        size += sum(map(VALUE_SIZE, part))
        fetched.append((tp, part))
        if start + len(part) < len(batch):
            rest.append((tp, batch, start + len(part)))
    return fetched, without + rest


def _within(records: list[ConsumerRecord], most: int) -> list[ConsumerRecord]:
    """The first records, of so many bytes at most, but one at least."""
    if sum(map(VALUE_SIZE, records)) <= most:
        return records
    sizes: Iterator[int] = accumulate(map(VALUE_SIZE, records))
    return records[: max(1, sum(size <= most for size in sizes))]


class GatheringFetcher(Fetcher):  # type: ignore[misc]  # aiokafka is untyped to us
    """Has Kafka gather what comes for some milliseconds, as long as something comes."""

    async def _proc_fetch_request(self, assignment: Any, node_id: Any, request: Any) -> Any:  # noqa: ANN401
        """After each answer, what the next request waits for."""
        found = await super()._proc_fetch_request(assignment, node_id, request)
        self._fetch_min_bytes = GATHER_BYTES if found else 1
        self._fetch_max_wait_ms = GATHER_MILLISECONDS if found else FETCH_WAIT_MILLISECONDS
        return found
