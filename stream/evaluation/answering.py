"""Who answers in an evaluation: the serving code itself, or one source of the same snapshot alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.serving import LivePopularity, Query, Serving
from stream.knowledge.snapshot import Snapshot

MODELS = ("full", "covisitation", "sessions", "neural", "popular")
Answer = Callable[[Sequence[Query], int], list[list[str]]]


def answerer(model: str, snapshot: Snapshot, catalogue: Catalogue) -> Answer:
    """A function from queries and a count to lists of item ids, best first.

    `full` is what a worker does with a query. The others are what one source alone would list: `popular` the items with
    the highest decayed counts (half-life a day), `neural` the items nearest to the user vector.
    """
    if model == "full":
        serving = Serving(snapshot, catalogue, LivePopularity())
        return lambda queries, count: [ranked.item_ids for ranked in serving.recommend(queries)]  # noqa: ARG005
    sources: dict[str, Callable[[Sequence[Query], int], np.ndarray]] = {
        "covisitation": lambda queries, count: snapshot.covisitation.candidates(snapshot.histories(queries), count)[0],
        "sessions": lambda queries, count: snapshot.sessions.candidates(snapshot.histories(queries), count)[0],
        "neural": lambda queries, count: _nearest(snapshot, queries, count),
        "popular": lambda queries, count: np.tile(snapshot.trending.order[:count], (len(queries), 1)),
    }
    listed = sources[model]
    return lambda queries, count: _named(snapshot, listed(queries, count))


def _nearest(snapshot: Snapshot, queries: Sequence[Query], count: int) -> np.ndarray:
    batch = snapshot.histories(queries)
    users = snapshot.encoder.encode(batch.rows, batch.types, batch.times, batch.starts, batch.now)
    return snapshot.vectors.search(users, count)[0]


def _named(snapshot: Snapshot, rows: np.ndarray) -> list[list[str]]:
    ids = snapshot.vocabulary.ids
    return [[ids[row] for row in listed if row >= 0] for listed in rows.tolist()]
