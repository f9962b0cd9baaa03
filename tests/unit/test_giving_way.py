"""Work that can wait leaves the loop to others, and does not stand still where they rest."""

from __future__ import annotations

import asyncio
import time

import pytest

from stream.giving_way import OTHERS, give_way


class Loop:
    """A loop on which others take a part of each moment that is slept; its time is the others' alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, taken: list[float]) -> None:
        self.used, self.slept = 0.0, 0
        self._taken = iter(taken)

        async def sleep(_seconds: float) -> None:
            self.slept += 1
            self.used += next(self._taken)

        monkeypatch.setattr(asyncio, "sleep", sleep)

    def clock(self) -> float:
        return self.used


def test_busy_others_get_their_multiple_of_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a turn of 10 ms others who always have work get three times as much, and then not a moment more."""
    loop = Loop(monkeypatch, [0.004] * 100)
    asyncio.run(give_way(0.010, loop.clock))
    assert OTHERS * 0.010 <= loop.used < OTHERS * 0.010 + 0.004


def test_where_others_rest_the_next_turn_comes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One look at a loop on which nothing happens; two where others ended after the first."""
    for taken, looks in (([0.00001, 9.0], 1), ([0.002, 0.00001, 9.0], 2)):
        loop = Loop(monkeypatch, taken)
        asyncio.run(give_way(1.0, loop.clock))
        assert loop.slept == looks


def test_a_busy_task_gets_most_of_a_real_loop() -> None:
    """Beside one who never rests, turns take at most a third of the thread's time (a quarter is what they ask for)."""

    async def shared() -> tuple[float, float]:
        spent = {"turns": 0.0, "others": 0.0}
        clock = time.thread_time

        def work(who: str, seconds: float) -> float:
            begin = clock()
            while clock() - begin < seconds:
                pass
            spent[who] += clock() - begin
            return clock() - begin

        async def others() -> None:
            while True:
                work("others", 0.002)
                await asyncio.sleep(0)

        busy = asyncio.create_task(others())
        for _ in range(20):
            await give_way(work("turns", 0.004))
        busy.cancel()
        return spent["turns"], spent["others"]

    turns, others = asyncio.run(shared())
    assert turns <= others / 2
