"""How items are used within sessions: where visits begin and end, what is looked at again, when each was last seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from indexing.arrays import frozen
from indexing.grouping import grouped, reduced
from indexing.histories import Floats, Int64s, Interactions, dense_numbers

NEVER = np.iinfo(np.int64).min
SESSIONS, BEGUN, ENDED, EVENTS = range(4)  # columns of `counts`
SMOOTHING = 5.0  # sessions with the usual habits of all items that each item is given


class HabitFacts(NamedTuple):
    """For N items: `rates` (N, 3) logs of how much more often than usual an item begins a session, ends one, and is met
    again in one; `last_seen` (N,) epoch milliseconds, NEVER for an item without events.
    """

    rates: Floats
    last_seen: Int64s


@dataclass(frozen=True)
class Habits:
    """`counts` (N, 4): sessions that hold an item, that begin with it, that end with it, and its events in all;
    `last_seen` (N,) epoch milliseconds.
    """

    counts: Floats
    last_seen: Int64s

    @classmethod
    def build(cls, interactions: Interactions, item_count: int) -> Habits:
        """Counts all interactions, in log order."""
        if len(interactions) == 0:
            return cls.nothing(item_count)
        sessions = dense_numbers(interactions.sessions)
        order = grouped(sessions, int(sessions.max()) + 1)
        begins = _begins(sessions[order])
        items = interactions.items[order]
        by_item = grouped(items, item_count)
        holding = items[by_item][_begins(items[by_item]) | _begins(sessions[order][by_item])]
        columns = (holding, items[begins], items[np.append(begins[1:], True)], items)
        counts = np.stack([np.bincount(column, minlength=item_count) for column in columns], axis=1)
        last_seen = reduced(np.maximum, interactions.times, interactions.items, item_count, NEVER)
        return cls(counts.astype(np.float32), last_seen)

    @classmethod
    def nothing(cls, item_count: int) -> Habits:
        """Nothing has been counted."""
        return cls(np.zeros((item_count, 4), np.float32), np.full(item_count, NEVER, np.int64))

    @cached_property
    def facts(self) -> HabitFacts:
        """What the ranker reads."""
        sessions = self.counts[:, SESSIONS].astype(np.float64)
        rates = np.zeros((len(sessions), 3), np.float32)
        for place, column in enumerate((BEGUN, ENDED, EVENTS)):
            counts = self.counts[:, column]
            usual = max(float(counts.sum(dtype=np.float64)), 1.0) / max(float(sessions.sum()), 1.0)
            rates[:, place] = np.log((counts + SMOOTHING * usual) / (sessions + SMOOTHING) / usual)
        return HabitFacts(frozen(rates, np.float32), frozen(self.last_seen, np.int64))

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        return {"counts": self.counts, "last_seen": self.last_seen}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Habits:
        """What `arrays()` came from."""
        return cls(np.asarray(arrays["counts"], np.float32), np.asarray(arrays["last_seen"], np.int64))


def _begins(grouped_numbers: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
    """Where another number begins."""
    begins = np.ones(len(grouped_numbers), np.bool_)
    begins[1:] = grouped_numbers[1:] != grouped_numbers[:-1]
    return begins
