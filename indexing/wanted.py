"""What is wanted in which way: some items are looked at, others are bought. Decayed counts by event type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from indexing.arrays import frozen
from indexing.histories import Floats, Interactions

HALF_LIFE_MS = 604_800_000  # a week: purchases are few
SMOOTHING = 10.0  # events with the usual shares of all types that each item is given


class WantedFacts(NamedTuple):
    """For E event types and N items: `popularity` (E, N) log(1 + count), `rates` (E, N) log of how much larger the
    type's share of the item's events is than its share of all events, `rarities` (E,) -log of that share; 0 for types
    that never occurred.
    """

    popularity: Floats
    rates: Floats
    rarities: Floats


@dataclass(frozen=True)
class Wanted:
    """Exponentially decayed `counts` (E, N) of events by type and item, as of one moment of event time."""

    counts: Floats

    @classmethod
    def build(cls, interactions: Interactions, item_count: int, type_count: int, as_of: int) -> Wanted:
        """Counts interactions, each decayed by its age at `as_of` (epoch milliseconds)."""
        decayed = np.exp2(-np.maximum(as_of - interactions.times, 0) / HALF_LIFE_MS)
        cells = interactions.types.astype(np.int64) * item_count + interactions.items
        counts = np.bincount(cells, decayed, minlength=type_count * item_count)
        return cls(counts.reshape(type_count, item_count).astype(np.float32))

    @classmethod
    def nothing(cls, item_count: int, type_count: int) -> Wanted:
        """Nothing has been counted."""
        return cls(np.zeros((type_count, item_count), np.float32))

    @cached_property
    def facts(self) -> WantedFacts:
        """What the ranker reads."""
        shares = self.counts.sum(axis=1, dtype=np.float64) / max(float(self.counts.sum(dtype=np.float64)), 1e-9)
        occurred = shares > 0
        shares = np.where(occurred, shares, 1.0)[:, None]  # (E, 1)
        smoothed = (self.counts + SMOOTHING * shares) / (self.counts.sum(axis=0) + SMOOTHING)
        rates = np.where(occurred[:, None], np.log(smoothed / shares), 0.0)
        return WantedFacts(
            frozen(np.log1p(self.counts), np.float32),
            frozen(rates, np.float32),
            frozen(-np.log(shares[:, 0]), np.float32),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        return {"counts": self.counts}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Wanted:
        """What `arrays()` came from."""
        return cls(arrays["counts"])
