"""How long a fetch waits at the broker: not at all where records come one by one, a moment at a pace.

At a pace each fetch, poll and micro-batch costs as much processor time as several events, here and at the broker. Where
the broker gathers for some milliseconds, all that come meanwhile share one.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

IDLE_MILLISECONDS = 250
GATHER_MILLISECONDS, GATHER_BYTES = 8, 64 << 10  # the broker gathers for so long, or so much
PACE = 250.0  # records a second
PAUSE_SECONDS = 0.05  # after this time without any there is no pace


class Fetcher(Protocol):
    """As much of aiokafka's as is set: what its next fetch asks for."""

    _fetch_max_wait_ms: int
    _fetch_min_bytes: int


class Pace:
    """Of the records that are polled by one event loop."""

    def __init__(self) -> None:
        self._last = 0.0
        self._pause: asyncio.TimerHandle | None = None

    def keep(self, fetcher: Fetcher, records: int) -> None:
        """So many have been polled: the next fetches wait as befits the time since the poll before."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        elapsed, self._last = now - self._last, now
        if self._pause is not None:
            self._pause.cancel()
        if records < PACE * elapsed:
            _rest(fetcher)
            return
        fetcher._fetch_max_wait_ms, fetcher._fetch_min_bytes = GATHER_MILLISECONDS, GATHER_BYTES
        self._pause = loop.call_later(PAUSE_SECONDS, _rest, fetcher)


def _rest(fetcher: Fetcher) -> None:
    fetcher._fetch_max_wait_ms, fetcher._fetch_min_bytes = IDLE_MILLISECONDS, 1
