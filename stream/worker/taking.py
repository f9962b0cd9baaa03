"""From Faust's consumer to the agent with few turns of the loop: messages are handed over and taken without tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any


class Rest:
    """What is left of a coroutine that has been begun and waits."""

    def __init__(self, coroutine: Coroutine[Any, None, Any], awaited: Any) -> None:  # noqa: ANN401
        self._coroutine, self._awaited = coroutine, awaited

    def __await__(self) -> Rest:
        return self

    def __iter__(self) -> Rest:
        return self

    def __next__(self) -> Any:  # noqa: ANN401
        return self.send(None)

    def send(self, value: Any) -> Any:  # noqa: ANN401
        """First what it waits for, then on with it."""
        if self._awaited is not None:
            awaited, self._awaited = self._awaited, None
            return awaited
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:  # noqa: ANN401
        """Raises an error where it waits."""
        self._awaited = None
        return self._coroutine.throw(*error)

    def close(self) -> None:
        """Ends it."""
        self._coroutine.close()


def begin(coroutine: Coroutine[Any, None, Any]) -> Rest | None:
    """Runs a coroutine up to where it waits; None if it has come to its end, whose result is dropped."""
    try:
        return Rest(coroutine, coroutine.send(None))
    except StopIteration:
        return None


async def take_waiting(stream: Any, most: int) -> AsyncIterator[list[Any]]:  # noqa: ANN401
    """Yields what waits in the stream, at most about `most` messages, as Faust's events; the caller acknowledges them.

    As `Stream.noack_take`, but woken by an arrival where that polls by a timer.
    """
    arrived, room = asyncio.Event(), asyncio.Event()
    waiting: list[Any] = []

    async def keep(value: Any) -> Any:  # noqa: ANN401
        waiting.append(stream.current_event)
        arrived.set()
        if len(waiting) >= most:
            room.clear()
            await stream.wait(room)
        return value

    async def wake_when_stopped() -> None:
        try:
            await stream.wait_for_stopped()
        finally:
            arrived.set()

    stream.enable_acks = False
    queue, channel = stream.channel.queue, aiter(stream.channel)
    stream.add_processor(keep)
    stream._enable_passive(channel)
    stream.add_future(wake_when_stopped())
    while not stream.should_stop:
        await arrived.wait()
        seen = 0
        while len(waiting) < most and (len(waiting) > seen or not queue.empty()):
            seen = len(waiting)
            await asyncio.sleep(0)  # the stream takes one message of the poll after the other
        taken = waiting.copy()
        waiting.clear()
        arrived.clear()
        room.set()
        if taken:
            yield taken
