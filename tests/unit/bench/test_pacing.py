"""The pacer against contenders whose speed is known."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from stream.bench import pacing
from stream.bench.logs import Sent
from stream.bench.pacing import WAITING, Arrivals, Pacer
from stream.bench.yard import FellError


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moment = 100.0
        self.passed: list[Any] = []
        real = asyncio.sleep

        async def sleep(seconds: float) -> None:
            self.moment += seconds
            for look in self.passed:
                look()
            await real(0)

        monkeypatch.setattr(pacing, "now", lambda: self.moment)
        monkeypatch.setattr(asyncio, "sleep", sleep)


class Contender:
    """Answers so many events a second, in their order, from the moment it starts at."""

    def __init__(self, clock: Clock, arrivals: Arrivals, rate: float, starts: float) -> None:
        self.sent: list[Sent] = []
        self.most_waiting = 0
        self._clock, self._arrivals, self._rate, self._starts = clock, arrivals, rate, clock.moment + starts
        self._answered, self._looked = 0.0, clock.moment
        clock.passed.append(self._answer)

    async def send(self, _topic: str, _value: bytes, _key: bytes, partition: int) -> None:
        self.sent.append(Sent(partition, len(self.sent), b"", b"", "user"))

    def _answer(self) -> None:
        moment = self._clock.moment
        self.most_waiting = max(self.most_waiting, len(self.sent) - int(self._answered))
        time = max(0.0, moment - max(self._starts, self._looked))
        self._looked = moment
        self._answered = min(len(self.sent), self._answered + self._rate * time)
        for record in self.sent[len(self._arrivals.events) : int(self._answered)]:
            self._arrivals.events[record.partition, record.offset] = moment


def pacer(contender: Contender, arrivals: Arrivals, records: int) -> Pacer:
    run = SimpleNamespace(topic=lambda name: name, check=lambda: None)
    log = [Sent(0, offset, b"user", b"{}", f"user-{offset}") for offset in range(records)]
    client: Any = contender
    beside: Any = run
    return Pacer(beside, client, log, arrivals)


async def test_capacity_is_what_a_contender_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers 500 a second, after three seconds in which it was not ready, is found to do just that.

    Never do more events wait than are to, and all of them are answered in the end.
    """
    clock, arrivals = Clock(monkeypatch), Arrivals()
    contender = Contender(clock, arrivals, 500.0, starts=3.0)
    assert await pacer(contender, arrivals, 100_000).capacity(10.0) == pytest.approx(500.0, rel=0.01)
    assert contender.most_waiting == WAITING
    assert len(arrivals.events) == len(contender.sent)


async def test_a_log_that_ends_too_early_tells_no_capacity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than a rate of nothing."""
    clock, arrivals = Clock(monkeypatch), Arrivals()
    contender = Contender(clock, arrivals, 500.0, starts=0.0)
    with pytest.raises(FellError, match="too short"):
        await pacer(contender, arrivals, 300).capacity(10.0)
