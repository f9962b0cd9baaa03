"""Live prequential scoring: each event that says a user wanted an item is held against the list before it.

That is the list from the user's state just before the event, by the artifact that served when that state came to be.
Within a burst of one user in one micro-batch nobody was sent the lists in between: they are made for this alone, so
that a score does not depend on where micro-batches begin and end (`stream.evaluation.served` comes to the same).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from stream.worker.batch import Served, Touched

DEPTHS = (10, 20)

Kind = tuple[str | None, str]  # the artifact that made the list, and the event type


@dataclass
class Score:
    """Events, hits and reciprocal ranks of our lists, and hits of the popularity list for the same events."""

    events: Counter[Kind] = field(default_factory=Counter)
    hits: Counter[tuple[int, Kind]] = field(default_factory=Counter)
    popular_hits: Counter[tuple[int, str]] = field(default_factory=Counter)
    reciprocal_ranks: dict[str | None, float] = field(default_factory=dict)  # sums within the first 20, by artifact


def score(touched: Iterable[Touched], between: Iterable[Served], popular: Sequence[str]) -> Score:
    """Scores a micro-batch. `between` are the lists from the states that `Touched.asked` holds, in that order.

    Events of users who have not been served a list before are not scored.
    """
    result = Score()
    popular_sets = {depth: frozenset(popular[:depth]) for depth in DEPTHS}
    for item_id, event_type, served in _pairs(touched, iter(between)):
        listed, kind = served.items[: DEPTHS[-1]], (served.artifact, event_type)
        if not listed:
            continue
        rank = listed.index(item_id) + 1 if item_id in listed else 0
        result.events[kind] += 1
        sums = result.reciprocal_ranks
        sums[served.artifact] = sums.get(served.artifact, 0.0) + (1 / rank if rank else 0.0)
        for depth in DEPTHS:
            result.hits[depth, kind] += 0 < rank <= depth
            result.popular_hits[depth, event_type] += item_id in popular_sets[depth]
    return result


def _pairs(touched: Iterable[Touched], between: Iterator[Served]) -> Iterator[tuple[str, str, Served]]:
    """Each event to score, as item and type, and the list before it."""
    for user in touched:
        for event, state in user.asked:
            yield event.item_id, event.event_type, user.before if state is None else next(between)
