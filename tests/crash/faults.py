"""Faults as small named actions. Each begins something bad and says when and how it is to end."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tests.crash.group import Group, Place, chosen

STARTER = ThreadPoolExecutor(1)  # a broker ends with the thread that has started it

Remedy = Callable[[], None]


class Later(NamedTuple):
    """What is to be done, and in how many seconds."""

    seconds: float
    do: Remedy


DEADLY = {"kill", "kill_amid_recovery", "kill_amid_rebalance", "stop", "leave_and_join"}

Fault = Callable[[Group, random.Random], Iterator[Later] | None]  # None: there is nobody to hit now
FAULTS: dict[str, Fault] = {}


def fault(act: Fault) -> Fault:
    """Adds a fault under its function's name."""
    FAULTS[act.__name__.replace("_", " ")] = act
    return act


def _on_one(act: Callable[[Group, Place, random.Random], Iterator[Later]]) -> Fault:
    """A fault that hits one worker, which has no other trouble meanwhile."""

    def hit(group: Group, dice: random.Random) -> Iterator[Later] | None:
        place = chosen(dice, group.places, deadly=act.__name__ in DEADLY)
        return None if place is None else _busy(place, act(group, place, dice))

    hit.__name__ = act.__name__
    return fault(hit)


def _busy(place: Place, steps: Iterator[Later]) -> Iterator[Later]:
    place.busy = True
    try:
        yield from steps
    finally:
        place.busy = False


@_on_one
def kill(group: Group, place: Place, dice: random.Random) -> Iterator[Later]:
    """SIGKILL."""
    place.kill()
    yield Later(0, place.tend)


@_on_one
def kill_amid_recovery(group: Group, place: Place, dice: random.Random) -> Iterator[Later]:
    """SIGKILL, and once more before the next worker is ready, wherever it is by then."""
    place.kill()
    yield Later(0, place.tend)
    yield Later(dice.uniform(0.5, 6), place.kill)


@_on_one
def kill_amid_rebalance(group: Group, place: Place, dice: random.Random) -> Iterator[Later]:
    """One stops and comes back, which has the others share anew; meanwhile another one is killed."""
    place.signal(signal.SIGTERM)
    other = chosen(dice, [each for each in group.places if each is not place], deadly=True)
    if other is not None:
        yield Later(dice.uniform(0.2, 2), other.kill)
    yield Later(1, place.tend)


@fault
def kill_all(group: Group, dice: random.Random) -> Iterator[Later]:
    """SIGKILL of every worker at once."""
    for place in group.places:
        if not place.busy and not place.spared:
            place.kill()
    return iter(())


@_on_one
def stop(group: Group, place: Place, dice: random.Random) -> Iterator[Later]:
    """SIGTERM, and a new worker at once."""
    place.signal(signal.SIGTERM)
    yield Later(2, place.tend)


@_on_one
def leave_and_join(group: Group, place: Place, dice: random.Random) -> Iterator[Later]:
    """SIGTERM; the others do without for a while, and then one joins."""
    place.wanted = False
    place.signal(signal.SIGTERM)

    def join() -> None:
        place.wanted = True

    yield Later(dice.uniform(3, 10), join)


@_on_one
def freeze(group: Group, place: Place, dice: random.Random) -> Iterator[Later]:
    """SIGSTOP for longer than the session, then SIGCONT: a zombie."""
    frozen = place.worker
    place.signal(signal.SIGSTOP)

    def wake() -> None:
        if place.worker is frozen:
            place.signal(signal.SIGCONT)

    yield Later(group.session + dice.uniform(1, 4), wake)


@_on_one
def hiccup(group: Group, place: Place, dice: random.Random) -> Iterator[Later]:
    """SIGSTOP for less than the session."""
    place.signal(signal.SIGSTOP)
    yield Later(dice.uniform(0.5, 3), lambda: place.signal(signal.SIGCONT))


@_on_one
def cut(group: Group, place: Place, dice: random.Random) -> Iterator[Later]:
    """One worker's connections are reset, and there are none for longer than the session."""
    place.proxy.cut()
    yield Later(group.session + dice.uniform(1, 4), place.proxy.heal)


@_on_one
def reset(group: Group, place: Place, dice: random.Random) -> Iterator[Later]:
    """One worker's connections are reset; new ones are there soon."""
    place.proxy.cut()
    yield Later(dice.uniform(0.1, 2), place.proxy.heal)


@_on_one
def hold(group: Group, place: Place, dice: random.Random) -> Iterator[Later]:
    """What a worker sends, and what it is sent, arrives when its session is long over."""
    place.proxy.hold()
    yield Later(group.session + dice.uniform(1, 4), place.proxy.heal)


@_on_one
def slow(group: Group, place: Place, dice: random.Random) -> Iterator[Later]:
    """A slow network for some seconds."""
    place.proxy.slow(dice.uniform(0.02, 0.2))
    yield Later(dice.uniform(4, 10), place.proxy.heal)


@fault
def broker_kill(group: Group, dice: random.Random) -> Iterator[Later]:
    """SIGKILL of the broker, which comes back with what it had."""
    group.broker.kill()
    yield Later(dice.uniform(0, 2), lambda: None)
    started = STARTER.submit(group.broker.start, 180)
    while not started.done():  # other faults go on meanwhile
        yield Later(0.2, lambda: None)
    started.result()


@fault
def broker_pause(group: Group, dice: random.Random) -> Iterator[Later]:
    """SIGSTOP of the broker for longer than the sessions of all."""
    group.broker.pause()
    yield Later(group.session + dice.uniform(1, 4), group.broker.resume)


@fault
def broker_slow(group: Group, dice: random.Random) -> Iterator[Later]:
    """The broker runs for a fifth of the time only, in short pieces: as slow as one that waits for its disk."""
    for _ in range(dice.randrange(10, 25)):
        group.broker.pause()
        yield Later(0.4, group.broker.resume)
        yield Later(0.1, lambda: None)


@fault
def broker_long_pause(group: Group, dice: random.Random) -> Iterator[Later]:
    """SIGSTOP of the broker for half a minute."""
    group.broker.pause()
    yield Later(30, group.broker.resume)


class Trouble:
    """Faults under way: begins them and does, when its time has come, what each has still to do."""

    def __init__(self, group: Group, dice: random.Random) -> None:
        self.log: list[tuple[float, str]] = []  # seconds since the start, and which fault began then
        self._group, self._dice = group, dice
        self._begun = time.monotonic()
        self._open: list[tuple[float, Remedy, Iterator[Later]]] = []
        self._broker_trouble: Iterator[Later] | None = None  # the last one

    def begin(self, name: str) -> bool:
        """Begins a fault; False if there is nobody to hit."""
        if name.startswith("broker") and not self._broker_is_well():
            return False
        steps = FAULTS[name](self._group, self._dice)
        if steps is None:
            return False
        if name.startswith("broker"):
            self._broker_trouble = steps
        self.log.append((time.monotonic() - self._begun, name))
        self._next(steps)
        return True

    def go_on(self) -> None:
        """Does what is due."""
        now = time.monotonic()
        due = sorted((step for step in self._open if step[0] <= now), key=lambda step: step[0])
        self._open = [step for step in self._open if step[0] > now]
        for _when, remedy, steps in due:
            remedy()
            self._next(steps)

    @property
    def over(self) -> bool:
        """Whether nothing of what was begun is still to be done."""
        return not self._open

    def end(self) -> None:
        """Waits until all that was begun is over."""
        while not self.over:
            self.go_on()
            time.sleep(0.05)

    def _next(self, steps: Iterator[Later]) -> None:
        step = next(steps, None)
        if step is not None:
            self._open.append((time.monotonic() + step.seconds, step.do, steps))

    def _broker_is_well(self) -> bool:
        return self._group.broker.running and self._broker_trouble not in self._under_way()

    def _under_way(self) -> list[Iterator[Later]]:
        return [steps for _when, _remedy, steps in self._open]
