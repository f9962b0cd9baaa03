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
    popular_ranks = {item_id: rank for rank, item_id in enumerate(popular, 1)}
    ranks: dict[Kind, list[int]] = {}
    popular_ones: dict[str, list[int]] = {}
    for item_id, event_type, served in _pairs(touched, iter(between)):
        rank = served.rank(item_id)
        if rank < 0:
            continue
        ranks.setdefault((served.artifact, event_type), []).append(rank)
        popular_ones.setdefault(event_type, []).append(popular_ranks.get(item_id, 0))
    return _counted(ranks, popular_ones)


def _counted(ranks: dict[Kind, list[int]], popular: dict[str, list[int]]) -> Score:
    """Ranks count from 1; 0 is no hit."""
    result = Score()
    for kind, found in ranks.items():
        places, sums = Counter(found), result.reciprocal_ranks
        result.events[kind] = len(found)
        within = [(rank, count) for rank, count in sorted(places.items()) if 0 < rank <= DEPTHS[-1]]
        sums[kind[0]] = sums.get(kind[0], 0.0) + sum(count / rank for rank, count in within)
        for depth in DEPTHS:
            result.hits[depth, kind] = sum(count for rank, count in within if rank <= depth)
    for event_type, found in popular.items():
        for depth in DEPTHS:
            result.popular_hits[depth, event_type] = sum(0 < rank <= depth for rank in found)
    return result


def _pairs(touched: Iterable[Touched], between: Iterator[Served]) -> Iterator[tuple[str, str, Served]]:
    """Each event to score, as item and type, and the list before it."""
    for user in touched:
        for asked in user.asked:
            event = asked.event
            yield event.item_id, event.event_type, user.before if asked.state is None else next(between)
