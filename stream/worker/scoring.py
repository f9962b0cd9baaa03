"""Live prequential scoring: each event that says a user wanted an item is held against the list served before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from stream.wire.event_types import EventTypes
from stream.worker.batch import Touched

DEPTHS = (10, 20)


@dataclass
class Score:
    """Hits by (k, event type) of our lists and of the popularity list, for the same events."""

    events: Counter[str] = field(default_factory=Counter)
    hits: Counter[tuple[int, str]] = field(default_factory=Counter)
    popular_hits: Counter[tuple[int, str]] = field(default_factory=Counter)
    reciprocal_rank_sum: float = 0.0  # within the first 20


def score(touched: Iterable[Touched], popular: Sequence[str], types: EventTypes) -> Score:
    """Scores a micro-batch. Events of users who have not been served a list before are not scored."""
    result = Score()
    popular_sets: dict[int, Collection[str]] = {depth: frozenset(popular[:depth]) for depth in DEPTHS}
    for user in touched:
        served = user.before[: DEPTHS[-1]]
        if not served:
            continue
        for event in user.applied:
            if types.is_positive(event.event_type):
                _score_one(result, event.item_id, event.event_type, served, popular_sets)
    return result


def _score_one(
    result: Score, item_id: str, event_type: str, served: list[str], popular: dict[int, Collection[str]]
) -> None:
    result.events[event_type] += 1
    rank = served.index(item_id) + 1 if item_id in served else None
    if rank is not None:
        result.reciprocal_rank_sum += 1 / rank
    for depth in DEPTHS:
        result.hits[depth, event_type] += rank is not None and rank <= depth
        result.popular_hits[depth, event_type] += item_id in popular[depth]
