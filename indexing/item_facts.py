"""What is known of items, as the compiled loops read it: one short row for each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from indexing.arrays import frozen
from indexing.columns import HOUR_MS
from indexing.habits import NEVER, HabitFacts
from indexing.histories import Floats, Int64s
from indexing.sources.covisitation import Covisitation
from indexing.trending import NEVER as NOT_YET
from indexing.wanted import WantedFacts

# Columns of `ItemFacts.table`; a candidate's own facts lie side by side, in one or two lines of the processor's cache.
POPULAR, COUNTED, COLDNESS, HABITS, SINCE_FIRST, SINCE_LAST, WIDTH = 0, 3, 4, 5, 8, 9, 10


@dataclass(frozen=True)
class ItemFacts:
    """What is known of N items: `popularity` (N, 3) log(1 + decayed counts), `counts` (N,) events, `first_seen` (N,)
    epoch milliseconds, `wanted` by event type; `together`: which items are visited together with each; `habits` within
    sessions.
    """

    popularity: Floats
    counts: Floats
    first_seen: Int64s
    wanted: WantedFacts
    together: Covisitation
    habits: HabitFacts

    @cached_property
    def as_of(self) -> int:
        """The latest time that anything is known of, epoch milliseconds: from it ages count backwards."""
        times = (self.first_seen[self.first_seen != NOT_YET], self.habits.last_seen[self.habits.last_seen != NEVER])
        return max((int(part.max()) for part in times if len(part)), default=0)

    @cached_property
    def table(self) -> Floats:
        """One row for each item, (N, WIDTH): popularity, log(1 + count), coldness, habits, and the hours from its first
        and from its last event to `as_of`, -inf where there was none.
        """
        table = np.zeros((len(self.counts), WIDTH), np.float32)
        table[:, POPULAR:COUNTED] = self.popularity
        table[:, COUNTED] = np.log1p(self.counts)
        table[:, COLDNESS] = 1.0 / np.sqrt(1.0 + self.counts)
        first, last = self.first_seen, self.habits.last_seen
        seen = last != NEVER
        table[seen, HABITS:SINCE_FIRST] = self.habits.rates[seen]
        table[:, SINCE_FIRST] = np.where(first != NOT_YET, (self.as_of - np.float64(first)) / HOUR_MS, -np.inf)
        table[:, SINCE_LAST] = np.where(seen, (self.as_of - np.float64(last)) / HOUR_MS, -np.inf)
        return frozen(table, np.float32)

    @cached_property
    def wanted_pairs(self) -> Floats:
        """Popularity and rate of each item by event type, side by side, (E, N, 2)."""
        return frozen(np.stack((self.wanted.popularity, self.wanted.rates), axis=2), np.float32)
