"""Who answers in an evaluation: the serving code itself, or one source of the same snapshot alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.remembering import POPULAR, source_names
from stream.knowledge.serving import LivePopularity, Query, Serving
from stream.knowledge.snapshot import Snapshot
from stream.settings import RecommendSettings

FULL, NEURAL = "full", "neural"
FROZEN = "frozen"  # the model of the first artifact, never refreshed: a baseline only
Rows = Callable[[Sequence[Query], int], np.ndarray]


def models() -> list[str]:
    """The names of all recommenders: the whole, each candidate source alone, and what needs no source."""
    return [FULL, *source_names(), NEURAL, POPULAR]


class Answerer:
    """Lists of item ids, best first, from one snapshot.

    `full` is what a worker does with a query. The others are what one source alone would list: `popular` the items with
    the highest decayed counts (half-life a day), `neural` the items nearest to the user vector.
    """

    def __init__(self, model: str, snapshot: Snapshot, catalogue: Catalogue, recommend: RecommendSettings) -> None:
        self._serving: Serving | None = None
        if model == FULL:
            slots, seed = recommend.new_slots, recommend.seed
            self._serving = Serving(snapshot, catalogue, LivePopularity(), new_slots=slots, seed=seed)
        self._rows = _rows(model, snapshot) if model != FULL else None
        self._ids = snapshot.vocabulary.ids

    def answer(self, queries: Sequence[Query], count: int) -> list[list[str]]:
        """A list for each query; a source alone may list less than `count`."""
        if self._serving is not None:
            return [ranked.item_ids for ranked in self._serving.recommend(queries)]
        assert self._rows is not None
        return [[self._ids[row] for row in listed if row >= 0] for listed in self._rows(queries, count).tolist()]

    def item_changed(self, item_id: str) -> None:
        """Takes over what the catalogue now says of an item."""
        if self._serving is not None:
            self._serving.item_changed(item_id)


def _rows(model: str, snapshot: Snapshot) -> Rows:
    """A function from queries and a count to item rows (B, count), -1 behind the last."""
    if model == NEURAL:
        return lambda queries, count: _nearest(snapshot, queries, count)
    if model == POPULAR:
        return lambda queries, count: np.tile(snapshot.trending.order[:count], (len(queries), 1))
    memory = snapshot.memories[model]
    return lambda queries, count: memory.candidates(snapshot.histories(queries), count)[0]


def _nearest(snapshot: Snapshot, queries: Sequence[Query], count: int) -> np.ndarray:
    batch = snapshot.histories(queries)
    users = snapshot.encoder.encode(batch.rows, batch.types, batch.times, batch.starts, batch.intents)
    return snapshot.vectors.search(users, count)[0]
