"""The two halves of a micro-batch: one is made while the one before it is on its way."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBatch

from stream.knowledge.serving import Query, RankedList
from stream.metrics import WorkerMetrics
from stream.settings import Settings
from stream.state.row import decode_state
from stream.worker.batch import DeadLetter
from stream.worker.knowledge import Knowledge
from stream.worker.step import SLICE, MicroBatch
from tests.records import chunk, event, record
from tests.worlds import random_sessions, small_snapshot

Batches = list[tuple[str, BatchBuilder]]


class Producer:
    """Delivers what was sent once `gate` is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.sent: list[tuple[str, bytes, bytes]] = []  # topic, key, value

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Task[Any]:
        for written in DefaultRecordBatch(batch._build()):
            self.sent.append((topic, written.key, written.value))
        return asyncio.create_task(self._delivery())

    async def _delivery(self) -> SimpleNamespace:
        await self.gate.wait()
        return SimpleNamespace(offset=0)


class Table:
    """Rows by partition and user."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[bytes, bytes]] = defaultdict(dict)
        self.behind: set[bytes] = set()  # users of whom the changelog has an older row behind that

    def row(self, partition: int, user: bytes) -> bytes | None:
        return self.rows[partition].get(user)

    async def put(self, partition: int, rows: dict[bytes, bytes], _offset: int) -> None:
        self.rows[partition].update(rows)
        for key in rows:
            self.behind.discard(key)

    def outdated(self, partitions: Iterable[int]) -> dict[int, dict[bytes, bytes]]:
        return {number: {key: self.rows[number][key] for key in self.behind} for number in partitions if self.behind}


class Letters:
    """Writes once `gate` is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.written: list[int] = []  # offsets

    async def write(self, bad: list[DeadLetter]) -> None:
        await self.gate.wait()
        self.written += [one.record.offset for one in bad]


class Desk:
    """A step, all around it, and the generation that the group has."""

    def __init__(self) -> None:
        settings = Settings()
        self.generation, self.table, self.producer, self.letters = 1, Table(), Producer(), Letters()
        self.metrics = WorkerMetrics()
        made_of: dict[str, Any] = {"table": self.table, "producer": self.producer, "letters": self.letters}
        self.knowledge = Knowledge(settings, lambda: 0.0)
        self.step = MicroBatch(
            settings, knowledge=self.knowledge, metrics=self.metrics,
            generation=lambda: self.generation, **made_of,
        )  # fmt: skip

    def clicks(self, *events: tuple[int, str, str]) -> Any:  # noqa: ANN401
        """The first half for events (offset, user, item)."""
        topic = "alluvium.events"
        records = [record(offset, event(user, item), topic=topic) for offset, user, item in events]
        return self.step.prepare([chunk(*records)], self.generation)

    def items(self, user: bytes) -> list[str]:
        """The history in the table."""
        row = self.table.row(0, user)
        return [] if row is None else decode_state(row).items


def test_a_micro_batch_sees_the_one_that_is_on_its_way() -> None:
    """The second is made before the first is delivered: it goes on from the first's rows, and all lists are sent."""

    async def story() -> None:
        desk = Desk()
        first = asyncio.create_task(desk.step.deliver(await desk.clicks((0, "u", "a"), (1, "v", "b"))))
        await asyncio.sleep(0.01)
        second = await desk.clicks((2, "u", "c"), (3, "u", "a"))
        assert (desk.items(b"u"), first.done()) == ([], False)
        desk.producer.gate.set()
        assert await first
        assert desk.items(b"u") == ["a"]
        assert await desk.step.deliver(second)
        assert (desk.items(b"u"), desk.items(b"v")) == (["a", "c", "a"], ["b"])
        lists = [
            msgspec.json.decode(value) for topic, _, value in desk.producer.sent if topic.endswith("recommendations")
        ]
        assert [(one["user_id"], one["provenance"]["event"]["offset"]) for one in lists] == [
            ("u", 0),
            ("v", 1),
            ("u", 3),
        ]

    asyncio.run(story())


def test_what_an_earlier_generation_has_not_delivered_counts_nothing() -> None:
    """The group's generation passes while the first is on its way: neither it nor what was made from it is kept."""

    async def story() -> None:
        desk = Desk()
        first = asyncio.create_task(desk.step.deliver(await desk.clicks((0, "u", "a"))))
        await asyncio.sleep(0.01)
        second = await desk.clicks((1, "u", "b"))
        desk.generation = 2
        desk.producer.gate.set()
        assert not await first
        assert not await desk.step.deliver(second)
        assert desk.items(b"u") == []
        assert await desk.step.deliver(await desk.clicks((0, "u", "a"), (1, "u", "b")))
        assert desk.items(b"u") == ["a", "b"]

    asyncio.run(story())


def test_the_changelog_ends_with_the_newest_row_of_each_user() -> None:
    """Users of whom a worker taken for dead has written an older row behind the newest have theirs written once more,
    unless a newer one is on its way.
    """

    async def story() -> None:
        desk = Desk()
        desk.producer.gate.set()
        assert await desk.step.deliver(await desk.clicks((0, "u", "a"), (1, "v", "b"), (2, "w", "c")))
        desk.producer.gate.clear()
        first = asyncio.create_task(desk.step.deliver(await desk.clicks((3, "v", "d"))))
        await asyncio.sleep(0.01)
        desk.table.behind = {b"u", b"v", b"w"}
        desk.producer.sent.clear()
        second = await desk.clicks((4, "w", "e"))
        desk.producer.gate.set()
        assert await first
        assert await desk.step.deliver(second)
        written = [(key, decode_state(row)) for topic, key, row in desk.producer.sent if topic.endswith("changelog")]
        assert sorted((key, state.items) for key, state in written) == [(b"u", ["a"]), (b"w", ["c", "e"])]

    asyncio.run(story())


def test_bad_records_count_once_their_letters_stand() -> None:
    """The good event's list does not wait for the letter of the bad one, and that is dead only once it is written."""

    async def story() -> None:
        desk = Desk()
        desk.producer.gate.set()
        bad = record(1, b"{", topic="alluvium.events")
        prepared = await desk.step.prepare([chunk(record(0, event("u", "a"), topic="alluvium.events"), bad)], 1)
        letters = asyncio.create_task(desk.step.write_letters(prepared))
        assert await desk.step.deliver(prepared)
        dead = b'alluvium_events_total{event_type="unknown",outcome="dead"} 1.0'
        assert (desk.items(b"u"), desk.letters.written, dead in desk.metrics.text()) == (["a"], [], False)
        desk.letters.gate.set()
        await letters
        assert (desk.letters.written, dead in desk.metrics.text()) == ([1], True)

    asyncio.run(story())


def test_no_letter_is_begun_for_a_generation_that_has_passed() -> None:
    """Its records are read again by whoever holds the partition then."""

    async def story() -> None:
        desk = Desk()
        desk.letters.gate.set()
        prepared = await desk.step.prepare([chunk(record(0, b"{", topic="alluvium.events"))], 1)
        desk.generation = 2
        await desk.step.write_letters(prepared)
        assert desk.letters.written == []

    asyncio.run(story())


@pytest.mark.parametrize(("users", "calls"), [(3, [5]), (SLICE, [SLICE, 2]), (SLICE + 3, [SLICE, 5]), (0, [2])])
def test_requests_have_their_lists_made_with_the_last_users(
    monkeypatch: pytest.MonkeyPatch, users: int, calls: list[int]
) -> None:
    """In as few calls, and each list is the one that its query gets alone."""

    async def story() -> None:
        desk = Desk()
        desk.producer.gate.set()
        await desk.knowledge.swap(small_snapshot(random_sessions(30, 60, seed=5), 30))
        recommend, made = desk.knowledge.serving.recommend, list[int]()

        def counted(queries: Sequence[Query], *more: Any) -> list[RankedList]:  # noqa: ANN401
            made.append(len(queries))
            return recommend(queries, *more)

        monkeypatch.setattr(desk.knowledge.serving, "recommend", counted)
        events = [record(at, event(f"u{at}", f"i{at % 30}"), topic="alluvium.events") for at in range(users)]
        asked = {"kind": "session", "count": 4}
        sessions = {name: [event("x", item)] for name, item in (("r1", "i7"), ("r2", "i8"))}
        requests = [
            record(at, {**asked, "request_id": name, "history": history}, topic="alluvium.requests")
            for at, (name, history) in enumerate(sessions.items())
        ]
        chunks = [chunk(*some) for some in (events, requests) if some]
        assert await desk.step.deliver(await desk.step.prepare(chunks, 1))
        lists = [msgspec.json.decode(value) for topic, _, value in desk.producer.sent if topic.endswith("endations")]
        items = {one["request_id"] or one["user_id"]: [place["item_id"] for place in one["items"]] for one in lists}
        now = requests[0].timestamp
        alone = {f"u{at}": Query([f"i{at % 30}"], ["click"], [now], now) for at in range(users)}
        alone |= {name: Query([item], ["click"], [now], now, 4) for name, item in (("r1", "i7"), ("r2", "i8"))}
        assert items == {name: recommend([query])[0].item_ids for name, query in alone.items()}
        assert made == [size for size in calls if size]

    asyncio.run(story())
