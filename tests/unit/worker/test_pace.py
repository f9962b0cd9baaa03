"""How long fetches wait at the broker, told by what a fetcher's next one asks for."""

from __future__ import annotations

import asyncio

from stream.worker.pace import GATHER_BYTES, GATHER_MILLISECONDS, IDLE_MILLISECONDS, PACE, PAUSE_SECONDS, Pace

IDLE, AT_A_PACE = (IDLE_MILLISECONDS, 1), (GATHER_MILLISECONDS, GATHER_BYTES)
STEP = 0.01  # seconds from poll to poll


class Fetcher:
    _fetch_max_wait_ms, _fetch_min_bytes = IDLE

    @property
    def asks(self) -> tuple[int, int]:
        return self._fetch_max_wait_ms, self._fetch_min_bytes


def test_fetches_gather_at_a_pace_and_not_for_records_that_come_alone() -> None:
    """The first records after a pause come at once, and so do those of a slow pace; behind many at a time fetches
    gather, until nothing has come for a while.
    """

    async def story() -> None:
        pace, fetcher = Pace(), Fetcher()
        for _ in range(2):
            pace.keep(fetcher, 1)
            assert fetcher.asks == IDLE
            await asyncio.sleep(STEP)
            pace.keep(fetcher, 1_000)
            assert fetcher.asks == AT_A_PACE
            await asyncio.sleep(STEP)
            pace.keep(fetcher, int(PACE * STEP / 2))
            assert fetcher.asks == IDLE
            await asyncio.sleep(STEP)
            pace.keep(fetcher, 1_000)
            await asyncio.sleep(2 * PAUSE_SECONDS)
            assert fetcher.asks == IDLE

    asyncio.run(story())
