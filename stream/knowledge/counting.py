"""All of a snapshot that is only counted, together: at a refresh, and between two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from indexing.habits import Habits
from indexing.histories import Floats, Interactions
from indexing.source import Contents, Source
from indexing.sources import source
from indexing.trending import Trending
from indexing.wanted import Wanted
from stream.knowledge.log import Log
from stream.knowledge.repurchase import repurchase_rates
from stream.wire.event_types import PURCHASE, EventTypes


class Counted(NamedTuple):
    """The fields of a snapshot that are counted."""

    memories: dict[str, Source]
    trending: Trending
    wanted: Wanted
    repurchase: Floats
    habits: Habits


@dataclass(frozen=True)
class Counting:
    """How N items are counted: what is known of them, the event types, and the names of the sources."""

    contents: Contents
    categories: Sequence[tuple[str, ...]]
    event_types: EventTypes
    sources: Sequence[str]

    def of(self, log: Log) -> Counted:
        """Everything, from a whole log."""
        interactions, items, now = log.interactions(), len(self.categories), int(log.times.max(initial=0))
        return Counted(
            self.memories(interactions),
            Trending.build(interactions, items, now),
            Wanted.build(interactions, items, len(self.event_types.names), now),
            repurchase_rates(log, self.event_types.code(PURCHASE), self.categories),
            Habits.build(interactions, items),
        )

    def memories(self, interactions: Interactions) -> dict[str, Source]:
        """The sources alone."""
        return {name: source(name).build(interactions, len(self.categories), self.contents) for name in self.sources}

    def take(self, rows: npt.NDArray[np.int32]) -> Counting:
        """The same over these rows, in this order; nothing is known of row -1."""
        categories = [self.categories[row] if row >= 0 else () for row in rows.tolist()]
        return replace(self, contents=self.contents.take(rows), categories=categories)
