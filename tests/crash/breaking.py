"""The breaking machine: load and faults from one seed, and the oracle at every checkpoint."""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.crash.faults import FAULTS, Trouble
from tests.crash.group import Group

READ_SECONDS = 20.0  # from the end of one reading to the next

WEIGHTS: Mapping[str, float] = {
    "kill": 8, "kill amid recovery": 4, "kill amid rebalance": 4, "kill all": 2, "stop": 3, "leave and join": 3,
    "freeze": 4, "hiccup": 2, "cut": 4, "reset": 3, "hold": 4, "slow": 2, "broker kill": 1, "broker pause": 1,
    "broker slow": 1,
}  # fmt: skip


@dataclass
class Told:
    """What came of a run."""

    faults: Counter[str] = field(default_factory=Counter)
    checks: int = 0
    seconds: float = 0.0
    checking: float = 0.0  # of these, for the checks
    problems: list[str] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.begun


class ReadingAlong:
    """Has the oracle read what there is while nothing is broken, so that a check has little left to read."""

    def __init__(self, group: Group, trouble: Trouble) -> None:
        self._group, self._trouble = group, trouble
        self._next = time.monotonic() + READ_SECONDS

    def turn(self) -> None:
        """Reads if it is time."""
        if self._trouble.over and time.monotonic() > self._next:
            self._group.oracle.catch_up()
            self._next = time.monotonic() + READ_SECONDS


def shatter(
    group: Group,
    dice: random.Random,
    *,
    enough: Callable[[Told], bool],
    pause: float,
    checkpoint: int,
    weights: Mapping[str, float] = WEIGHTS,
    each_turn: Callable[[], None] = lambda: None,
) -> Told:
    """Faults, on average each `pause` seconds, until `enough`; the oracle is asked after each `checkpoint` of them.

    A fault that finds nobody to hit gives way to another one, and what was late is made up for: so many come.
    Ends at the first checkpoint that finds a problem: what comes behind it would only blur it.
    """
    told, trouble = Told(), Trouble(group, dice)
    reader = ReadingAlong(group, trouble)

    def turn() -> None:
        group.tend()
        trouble.go_on()
        each_turn()
        reader.turn()
        time.sleep(0.1)

    assert weights.keys() <= FAULTS.keys()
    following = time.monotonic()
    while not enough(told) and not told.problems:
        following += dice.expovariate(1 / pause)
        while time.monotonic() < following:
            turn()
        while not _begun(trouble, dice, weights, told):
            turn()
        if told.faults.total() % checkpoint == 0:
            _check(group, trouble, told)
            following = time.monotonic()
    if not told.problems and told.faults.total() % checkpoint:
        _check(group, trouble, told)
    told.seconds = told.elapsed
    return told


def _begun(trouble: Trouble, dice: random.Random, weights: Mapping[str, float], told: Told) -> bool:
    """Whether there was somebody to hit."""
    (name,) = dice.choices([*weights], [*weights.values()])
    if not trouble.begin(name):
        return False
    told.faults[name] += 1
    return True


def _check(group: Group, trouble: Trouble, told: Told) -> None:
    trouble.end()
    begun = time.monotonic()
    try:
        oracle = group.check()
        told.problems = oracle.problems
    except AssertionError as error:  # somebody does not become ready, or a topic does not end
        oracle = group.oracle
        told.problems = [*oracle.problems, f"no answer: {error}"]
    told.checks += 1
    told.checking += time.monotonic() - begun
    sys.stderr.write(
        f"{time.strftime('%H:%M:%S')} {told.faults.total()} faults, {oracle.counts}: {told.problems or 'exact'}\n"
    )
