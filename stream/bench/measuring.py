"""What counts make of themselves: rates, percentiles, and the spread of several rounds. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

MIDDLE = (0.2, 0.8)  # of a run: before it things start, after it they run out


class Sample(NamedTuple):
    """How many records had arrived, and the processor time that the contender had used, at a moment (all seconds)."""

    moment: float
    arrived: int
    cpu: float = 0.0


@dataclass(frozen=True)
class Rate:
    """Records a second and microseconds of processor time a record."""

    per_second: float
    cpu_microseconds: float


class Spread(NamedTuple):
    """The least, the median and the most of several rounds."""

    least: float
    median: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of at least one value.

        >>> Spread.of([3.0, 1.0, 2.5])
        Spread(least=1.0, median=2.5, most=3.0)
        """
        return cls(min(values), statistics.median(values), max(values))


def middle_rate(samples: Sequence[Sample], middle: tuple[float, float] = MIDDLE) -> Rate | None:
    """The slope between the moments at which two shares of the last count had arrived, None where nothing did.

    Between two samples records are taken to arrive evenly.

    >>> middle_rate([Sample(0, 0), Sample(5, 0), Sample(6, 50, 2e-4), Sample(7, 100, 4e-4)])
    Rate(per_second=50.0, cpu_microseconds=4.0)
    """
    if not samples or samples[-1].arrived == 0:
        return None
    (begin, spent_before), (end, spent) = (_reached(samples, share * samples[-1].arrived) for share in middle)
    records = (middle[1] - middle[0]) * samples[-1].arrived
    if end <= begin:
        return None
    return Rate(round(records / (end - begin), 6), round(1e6 * (spent - spent_before) / records, 6))


def _reached(samples: Sequence[Sample], count: float) -> tuple[float, float]:
    """When so many records had arrived, and the processor time until then."""
    before = Sample(samples[0].moment, 0, samples[0].cpu)
    for sample in samples:
        if sample.arrived >= count and sample.arrived > before.arrived:
            share = (count - before.arrived) / (sample.arrived - before.arrived)
            moment = before.moment + share * (sample.moment - before.moment)
            return moment, before.cpu + share * (sample.cpu - before.cpu)
        before = sample
    return before.moment, before.cpu


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank).

    >>> percentile([4.0, 1.0, 3.0, 2.0], 0.5), percentile(range(1, 101), 0.99)
    (2.0, 99)
    """
    ordered = sorted(values)
    rank = -(-share * len(ordered) // 1)  # rounded up
    return ordered[max(int(rank), 1) - 1]
