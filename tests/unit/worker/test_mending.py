"""Which partitions of the changelog need somebody although no event comes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiokafka import TopicPartition

from stream.worker.mending import Mending


class Table:
    """What has been read of each partition, whose rows are outdated, and a changelog to load from."""

    changelog_topic_name = "changelog"

    def __init__(self) -> None:
        self.read: dict[int, int] = {0: 9, 1: 9}
        self.stale: set[int] = set()
        self.loaded: list[int] = []

    def read_to(self, partition: int) -> int | None:
        return self.read.get(partition)

    def outdated(self, partitions: Iterable[int]) -> dict[int, dict[bytes, bytes]]:
        return {number: {b"u": b"row"} for number in partitions if number in self.stale}

    async def load(self, changelogs: Iterable[Any]) -> None:
        for tp in changelogs:
            self.loaded.append(tp.partition)
            self.read[tp.partition] = 11
            self.stale.add(tp.partition)


class Watch:
    """Ends that it has seen."""

    def __init__(self, *ends: int) -> None:
        self.ends = {TopicPartition("changelog", number): end for number, end in enumerate(ends)}


def mending(table: Any, watch: Any) -> Mending:  # noqa: ANN401
    return Mending(table, watch)


def test_rows_that_stay_unread_are_found() -> None:
    """Partition 0 ends where it was read to; 1 goes on for two looks; 2 is not held, and 3 nobody watches."""
    desk = mending(Table(), Watch(10, 12, 40))
    assert desk.find([0, 1, 2, 3]) == frozenset()
    assert desk.find([0, 1, 2, 3]) == {1}


def test_where_rows_are_put_meanwhile_the_next_micro_batch_finds_them() -> None:
    """A partition at work is never at its end when it is looked at from outside."""
    table = Table()
    desk = mending(table, Watch(10, 12))
    for read in range(9, 11):
        table.read[1] = read
        assert desk.find([0, 1]) == frozenset()


def test_rows_known_to_be_outdated_are_found() -> None:
    """A rebalance has read the changelog to its end, and an older row stood there last."""
    table = Table()
    table.stale = {0}
    desk = mending(table, Watch(10, 10))
    assert [desk.find([0, 1]), desk.find([0, 1])] == [frozenset(), {0}]


async def test_only_what_stands_unread_is_read() -> None:
    """Partition 1 has been lost meanwhile; 0 has nothing unread, but rows to be written."""
    table = Table()
    table.stale, table.read[2] = {0}, 9
    desk = mending(table, Watch(10, 12, 12))
    del table.read[1]
    assert await desk.read([0, 1, 2]) == [0, 2]
    assert table.loaded == [2]
