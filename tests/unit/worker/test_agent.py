"""What the agent acknowledges, and when: its step's lists and letters are let go one by one."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from stream.settings import Settings
from stream.worker import app as module
from stream.worker.app import Agent
from stream.worker.batch import Chunk
from tests.records import record

NO_RECORD = -1
SETTLES = 0.02  # seconds, many turns of the loop


@pytest.fixture(autouse=True)
def _failures_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_phrase: str, error: BaseException) -> None:
        raise error

    monkeypatch.setattr(module, "end_at_once", fail)


class Step:
    """Micro-batches of one record each, told by its offset, or of none, and the partitions to mend with each."""

    def __init__(self) -> None:
        self.mended: list[list[int]] = []
        self.delivering: list[int] = []
        self.delivered: list[int] = []
        self.lists: dict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.letters: dict[int, asyncio.Event] = defaultdict(asyncio.Event)

    async def prepare(self, chunks: Sequence[Chunk], _generation: int, mend: Collection[int]) -> int:
        self.mended.append([*mend])
        offset: int = chunks[0].records[0].offset if chunks else NO_RECORD
        return offset

    async def deliver(self, offset: int) -> bool:
        self.delivering.append(offset)
        await self.lists[offset].wait()
        self.delivered.append(offset)
        return True

    async def write_letters(self, offset: int) -> None:
        await self.letters[offset].wait()


class Stream:
    """As much of Faust's stream as the agent uses, and what was acknowledged."""

    should_stop = False

    def __init__(self) -> None:
        self.channel = nothing()
        self.acknowledged: list[int] = []
        self.current_event: object = None

    def add_processor(self, keep: Callable[[object], Awaitable[object]]) -> None:
        self.keep = keep

    def _enable_passive(self, _channel: object) -> None: ...

    async def wait_for_stopped(self, arrived: asyncio.Event) -> bool:
        return await arrived.wait()

    async def ack(self, event: Any) -> None:  # noqa: ANN401
        self.acknowledged.append(event.message.offset)


async def nothing() -> AsyncIterator[object]:
    """Nobody reads from it: the test hands events to the stream."""
    return
    yield


class Worker:
    """An agent, and all around it."""

    def __init__(self) -> None:
        self.step, self.stream, self.dropped, self.rebalances = Step(), Stream(), list[int](), 0
        consumer = SimpleNamespace(drop=self._drop, resumed_at=lambda _tp: 0)
        self.app = SimpleNamespace(consumer=consumer, consumer_generation_id=1, topic=self._topic, agent=self._agent)
        self.run: Callable[[Stream], Coroutine[object, object, None]]
        app: Any = self.app
        self.agent = Agent(app, Settings(), self.step, self._rebalanced, self)

    def begin(self) -> None:
        self.running = asyncio.create_task(self.run(self.stream))

    async def take(self, offset: int) -> None:
        """One record arrives."""
        value = [[record(offset, {})]]
        message = SimpleNamespace(
            topic="events", partition=0, tp=("events", 0), offset=offset, value=value,
            generation_id=self.app.consumer_generation_id,
        )  # fmt: skip
        self.stream.current_event = SimpleNamespace(message=message)
        await self.stream.keep(value)
        await asyncio.sleep(SETTLES)

    def _topic(self, *_names: str, **_more: object) -> object:
        return object()

    def _agent(self, _channel: object, **_more: object) -> Callable[[Callable[..., Any]], None]:
        return lambda run: setattr(self, "run", run)

    def _drop(self, messages: Iterable[Any]) -> None:
        self.dropped += [message.offset for message in messages]

    async def read(self, partitions: Iterable[int]) -> list[int]:
        """For mending: all of them have something to be written, and only one after the other may be at work there."""
        assert self.step.delivered == self.step.delivering
        return sorted(partitions)

    async def _rebalanced(self) -> None:
        self.rebalances += 1


def play(story: Callable[[Worker], Awaitable[None]]) -> None:
    """Tells a story of one worker."""

    async def told() -> None:
        worker = Worker()
        worker.begin()
        await asyncio.sleep(0)
        await story(worker)
        assert not worker.running.done()
        worker.running.cancel()

    asyncio.run(told())


async def release(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        event.set()
    await asyncio.sleep(SETTLES)


def test_lists_do_not_wait_for_letters_and_acknowledgements_do() -> None:
    """The first micro-batch's letter takes long: the next ones' lists go out, and nothing is acknowledged before it.
    Then everything is, in order.
    """

    async def story(worker: Worker) -> None:
        step = worker.step
        await release(step.lists[offset] for offset in range(3))
        await release(step.letters[offset] for offset in (1, 2))
        for offset in range(3):
            await worker.take(offset)
        assert (step.delivering, worker.stream.acknowledged) == ([0, 1, 2], [])
        await release([step.letters[0]])
        assert worker.stream.acknowledged == [0, 1, 2]

    play(story)


def test_lists_go_out_one_micro_batch_after_the_other() -> None:
    """The rows of one must count before those of the next are sent."""

    async def story(worker: Worker) -> None:
        step = worker.step
        await release(step.letters[offset] for offset in range(2))
        for offset in range(2):
            await worker.take(offset)
        assert step.delivering == [0]
        await release([step.lists[0]])
        assert (step.delivering, worker.stream.acknowledged) == ([0, 1], [0])

    play(story)


def test_so_many_wait_for_letters_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where letters cannot be written, what waits for them does not grow."""
    monkeypatch.setattr(module, "UNSETTLED", most := 3)

    async def story(worker: Worker) -> None:
        step = worker.step
        await release(step.lists[offset] for offset in range(most + 2))
        for offset in range(most + 2):
            await worker.take(offset)
        assert step.delivering == list(range(most))
        await release([step.letters[0]])
        assert step.delivering == list(range(most + 1))

    play(story)


def test_nothing_of_a_generation_that_has_passed_is_acknowledged() -> None:
    """It passes while a letter is waited for: what waited is dropped, and only then the next generation begins."""

    async def story(worker: Worker) -> None:
        step = worker.step
        await release(step.lists[offset] for offset in range(3))
        for offset in range(2):
            await worker.take(offset)
        worker.app.consumer_generation_id = 2
        await worker.take(0)
        assert (worker.stream.acknowledged, worker.dropped, worker.rebalances) == ([], [], 1)
        await release(step.letters[offset] for offset in range(2))
        assert (worker.stream.acknowledged, worker.dropped, worker.rebalances) == ([0], [0, 1], 2)

    play(story)


def test_a_changelog_is_mended_without_an_event_once_nothing_of_ours_is_on_its_way() -> None:
    """And that micro-batch has nothing to acknowledge."""

    async def story(worker: Worker) -> None:
        step = worker.step
        await release([step.letters[0], step.letters[NO_RECORD], step.lists[NO_RECORD]])
        await worker.take(0)
        worker.agent.mend(frozenset({2, 3}))
        await asyncio.sleep(SETTLES)
        assert step.mended == [[]]
        await release([step.lists[0]])
        assert (step.mended, step.delivered) == ([[], [2, 3]], [0, NO_RECORD])
        assert worker.stream.acknowledged == [0]

    play(story)
