"""How long a fetch waits at the broker: not at all for the first record after a pause, a moment at a pace.

At a pace each fetch, poll and micro-batch costs as much processor time as several events, here and at the broker. Where
the broker gathers for some milliseconds, all that come meanwhile share one.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

IDLE_MILLISECONDS = 250
GATHER_MILLISECONDS, GATHER_BYTES = 8, 64 << 10  # the broker gathers for so long, or so much
PACE_SECONDS = 0.05  # records of two polls within this time have a pace


class Fetcher(Protocol):
    """As much of aiokafka's as is set: what its next fetch asks for."""

    _fetch_max_wait_ms: int
    _fetch_min_bytes: int


class Pace:
    """Of the records that are polled by one event loop."""

    def __init__(self) -> None:
        self._pause: asyncio.TimerHandle | None = None

    def keep(self, fetcher: Fetcher) -> None:
        """Records have been polled: its next fetches wait as befits the time since the ones before."""
        if self._pause is not None:
            self._pause.cancel()
            fetcher._fetch_max_wait_ms, fetcher._fetch_min_bytes = GATHER_MILLISECONDS, GATHER_BYTES
        self._pause = asyncio.get_running_loop().call_later(PACE_SECONDS, self._rest, fetcher)

    def _rest(self, fetcher: Fetcher) -> None:
        self._pause = None
        fetcher._fetch_max_wait_ms, fetcher._fetch_min_bytes = IDLE_MILLISECONDS, 1
