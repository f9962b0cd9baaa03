"""How long fetches wait at the broker, told by what a fetcher's next one asks for."""

from __future__ import annotations

import asyncio

from stream.worker.pace import GATHER_BYTES, GATHER_MILLISECONDS, IDLE_MILLISECONDS, PACE_SECONDS, Pace

IDLE, AT_A_PACE = (IDLE_MILLISECONDS, 1), (GATHER_MILLISECONDS, GATHER_BYTES)


class Fetcher:
    _fetch_max_wait_ms, _fetch_min_bytes = IDLE

    @property
    def asks(self) -> tuple[int, int]:
        return self._fetch_max_wait_ms, self._fetch_min_bytes


def test_fetches_gather_while_records_come_and_not_after_a_pause() -> None:
    """The first records after a pause come at once; behind them fetches gather, until nothing has come for a while."""

    async def story() -> None:
        pace, fetcher = Pace(), Fetcher()
        for _ in range(2):
            pace.keep(fetcher)
            assert fetcher.asks == IDLE
            for _ in range(3):
                pace.keep(fetcher)
                assert fetcher.asks == AT_A_PACE
            await asyncio.sleep(2 * PACE_SECONDS)
            assert fetcher.asks == IDLE

    asyncio.run(story())
