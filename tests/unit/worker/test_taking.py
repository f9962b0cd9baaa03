"""Messages on their way from Faust's consumer to the agent."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from mode import Service

from stream.worker.faust_fixes import ChunkConsumer
from stream.worker.taking import Rest, begin, take_waiting


async def waits(steps: list[str], gate: asyncio.Event) -> str:
    steps.append("begun")
    await asyncio.sleep(0)
    try:
        await gate.wait()
    except asyncio.CancelledError:
        steps.append("cancelled")
        raise
    steps.append("through")
    return "result"


async def test_what_waits_for_nothing_is_done_at_once() -> None:
    """No turn of the loop goes by, and errors are raised to the caller."""
    steps: list[str] = []

    async def work() -> None:
        steps.append("done")

    assert begin(work()) is None
    assert steps == ["done"]

    async def fails() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        begin(fails())


async def test_what_has_been_begun_goes_on_in_a_task() -> None:
    """It runs once, waits as it would have, and its result is the task's."""
    steps: list[str] = []
    gate = asyncio.Event()
    rest = begin(waits(steps, gate))
    assert isinstance(rest, Rest)
    assert steps == ["begun"]
    task: asyncio.Future[Any] = asyncio.ensure_future(rest)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    assert await task == "result"
    assert steps == ["begun", "through"]


@pytest.mark.parametrize("turns", [0, 1, 5])
async def test_the_rest_of_a_coroutine_can_be_cancelled(turns: int) -> None:
    """The coroutine itself learns of it, wherever it waits."""
    steps: list[str] = []

    async def cleans_up() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            steps.append("cleaned up")

    rest = begin(cleans_up())
    assert rest is not None
    task: asyncio.Future[Any] = asyncio.ensure_future(rest)
    await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["cleaned up"]


@pytest.fixture
def consumer() -> Any:  # noqa: ANN401
    real = ChunkConsumer.__new__(ChunkConsumer)
    Service.__init__(real)
    return real


async def test_a_message_is_handed_over_without_a_task(consumer: Any) -> None:  # noqa: ANN401
    """As long as nothing holds it up."""
    handed: list[int] = []

    async def hand_over() -> None:
        handed.append(1)

    before = asyncio.all_tasks()
    waiting = consumer.wait_first(hand_over(), asyncio.Event().wait())
    with pytest.raises(StopIteration):
        waiting.send(None)
    assert handed == [1]
    assert asyncio.all_tasks() == before


async def test_handing_over_ends_when_the_flow_is_suspended(consumer: Any) -> None:  # noqa: ANN401
    """A message that finds no room is not waited for during a rebalance; one that finds it later is handed over."""
    steps: list[str] = []
    suspended = asyncio.Event()
    asyncio.get_running_loop().call_soon(suspended.set)
    await asyncio.wait_for(consumer.wait_first(waits(steps, asyncio.Event()), suspended.wait()), 60)
    for _ in range(3):
        await asyncio.sleep(0)
    assert steps == ["begun", "cancelled"]

    steps.clear()
    room = asyncio.Event()
    asyncio.get_running_loop().call_soon(room.set)
    await asyncio.wait_for(consumer.wait_first(waits(steps, room), asyncio.Event().wait()), 60)
    assert steps == ["begun", "through"]


class Stream(Service):  # type: ignore[misc]  # untyped to us
    """What `take_waiting` knows of Faust's: a queue, and processors that see one message after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.enable_acks = True
        self.channel = Channel()
        self.current_event: Any = None
        self._processors: list[Any] = []

    def add_processor(self, processor: Any) -> None:  # noqa: ANN401
        self._processors.append(processor)

    def _enable_passive(self, channel: Any) -> None:  # noqa: ANN401
        self.add_future(self._drain(channel))

    async def _drain(self, channel: Any) -> None:  # noqa: ANN401
        async for event in channel:
            await asyncio.sleep(0)
            self.current_event = event
            for processor in self._processors:
                await processor(event.value)


class Channel:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()

    def __aiter__(self) -> Channel:
        return self

    async def __anext__(self) -> Any:  # noqa: ANN401
        return await self.queue.get()


async def taken_after(stream: Stream, taking: Any, *values: int) -> list[int]:  # noqa: ANN401
    for value in values:
        stream.channel.queue.put_nowait(SimpleNamespace(value=value))
    events = await asyncio.wait_for(anext(taking), 60)
    return [event.value for event in events]


async def test_all_messages_of_a_poll_are_taken_together() -> None:
    """In their order, each once, without acknowledging any; what comes later is another's."""
    stream = Stream()
    await stream.start()
    taking = take_waiting(stream, 32)
    assert await taken_after(stream, taking, *range(7)) == list(range(7))
    assert await taken_after(stream, taking, 7) == [7]
    assert not stream.enable_acks
    await stream.stop()


async def test_no_more_are_taken_than_asked_for() -> None:
    """The rest is taken next, and nothing is lost."""
    stream = Stream()
    await stream.start()
    taking = take_waiting(stream, 3)
    assert await taken_after(stream, taking, *range(7)) == [0, 1, 2]
    assert await taken_after(stream, taking) == [3, 4, 5]
    assert await taken_after(stream, taking) == [6]
    await stream.stop()


async def test_taking_ends_with_the_stream() -> None:
    """An agent that waits for messages does not keep a worker from stopping."""
    stream = Stream()
    await stream.start()
    taking = take_waiting(stream, 3)
    waiting = asyncio.create_task(anext(taking, None))
    await asyncio.sleep(0.01)
    await stream.stop()
    assert await asyncio.wait_for(waiting, 60) is None
