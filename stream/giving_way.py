"""Work that can wait, on an event loop where other work cannot: it is done in turns, and others go first in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

OTHERS = 3.0  # times as long as a turn that others may take before the next, where they have so much to do
LOOK_SECONDS = 0.001
IDLE = 0.25  # of that time; who takes less has nothing to do


async def give_way(worked: float, clock: Callable[[], float] = time.thread_time) -> None:
    """After a turn of `worked` seconds: returns once others have had OTHERS times as much of `clock`, or rest.

    The clock must run for the others alone while this waits: the processor time of the loop's thread does.
    """
    owed = OTHERS * worked
    while owed > 0.0:
        before = clock()
        await asyncio.sleep(LOOK_SECONDS)
        taken = clock() - before
        if taken < IDLE * LOOK_SECONDS:
            return
        owed -= taken
