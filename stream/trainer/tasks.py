"""Tasks that are watched while something else is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[set[asyncio.Task[Any]]]:
    """Tasks for the length of a `with` block."""
    tasks = {asyncio.create_task(part) for part in work}
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(event: asyncio.Event, tasks: set[asyncio.Task[Any]]) -> None:
    """Waits for the event; an error of a task that would bring it about is raised here."""
    waiting = asyncio.create_task(event.wait())
    try:
        finished, _ = await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in finished - {waiting}:
            task.result()
    finally:
        waiting.cancel()
