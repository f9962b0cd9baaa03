"""Changelog partitions that end with older rows, or with rows that nobody here has read, although no event comes.

What a worker taken for dead has still on its way may arrive after the last event for long. The next micro-batch of the
partition would find it and write the newer rows once more; until then compaction could leave the older ones alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from aiokafka import TopicPartition
from faust.types import TP

from stream.kafka import LogWatch
from stream.state.table import StateTable


class Mending:
    """Finds them, by what the watch over the log has seen; `find` is asked about once a second."""

    def __init__(self, table: StateTable, watch: LogWatch) -> None:
        self._table, self._watch = table, watch
        self._changelog: str = table.changelog_topic_name
        self._before: dict[int, int] = {}

    def find(self, partitions: Iterable[int]) -> frozenset[int]:
        """Those of `partitions` of which that was so the last time, too, and nothing has been put there since."""
        found: dict[int, int] = {}
        for number in partitions:
            read = self._table.read_to(number)
            if read is not None and (self._unread(number, read) or self._table.outdated([number])):
                found[number] = read
        standing = frozenset(number for number, read in found.items() if self._before.get(number) == read)
        self._before = found
        return standing

    async def read(self, partitions: Iterable[int]) -> list[int]:
        """Reads what stands there, while nothing of this worker's is on its way there.

        Returns the partitions whose newest rows must be written once more.
        """
        held = {number: read for number in partitions if (read := self._table.read_to(number)) is not None}
        unread = [TP(self._changelog, number) for number, read in held.items() if self._unread(number, read)]
        await self._table.load(unread)
        return [*self._table.outdated(held)]

    def _unread(self, number: int, read: int) -> bool:
        return self._watch.ends.get(TopicPartition(self._changelog, number), 0) > read + 1
