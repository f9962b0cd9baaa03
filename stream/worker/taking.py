"""From Faust's stream to the agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

TURNS = 4  # of the loop, in which more messages of a poll arrive; most polls at a pace are one, which waits for nobody


async def take_waiting(stream: Any, most: int, arrived: asyncio.Event) -> AsyncIterator[list[Any]]:  # noqa: ANN401
    """Yields what waits in the stream, at most about `most` messages, as Faust's events; the caller acknowledges them.

    As `Stream.noack_take`, but woken by an arrival where that polls by a timer. Yields nothing of the stream, an empty
    list, when somebody else sets `arrived`, or when the stream stops.
    """
    room = asyncio.Event()
    waiting: list[Any] = []

    async def keep(value: Any) -> Any:  # noqa: ANN401
        waiting.append(stream.current_event)
        arrived.set()
        if len(waiting) >= most:
            room.clear()
            await stream.wait(room)
        return value

    stream.enable_acks = False
    channel = aiter(stream.channel)
    stream.add_processor(keep)
    stream._enable_passive(channel)
    while not stream.should_stop:
        await stream.wait_for_stopped(arrived)
        if len(waiting) < most:
            for _ in range(TURNS):
                await asyncio.sleep(0)
        taken = waiting.copy()
        waiting.clear()
        arrived.clear()
        room.set()
        yield taken
