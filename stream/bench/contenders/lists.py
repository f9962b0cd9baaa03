"""The recommender as a contender calls it: once for each event, for the user's new state."""

from __future__ import annotations

import msgspec

from stream.bench.contenders.job import State, Task
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.serving import LivePopularity, Query, Serving
from stream.knowledge.store import ArtifactStore
from stream.wire.messages import Item, RecommendedItem


class Recommender:
    """The lists of one artifact, with the catalogue of the task."""

    fallback: str | None = None

    def __init__(self, task: Task) -> None:
        self.name: str | None = task.artifact
        catalogue = Catalogue()
        for offset, item_id in enumerate(task.constant):
            catalogue.apply(0, offset, item_id, Item(item_id))
        snapshot = ArtifactStore(task.artifact_url, task.directory).open(task.artifact)
        self._serving = Serving(snapshot, catalogue, LivePopularity())
        self._serving.warm_up()
        self._json = msgspec.json.Encoder().encode

    def items(self, state: State) -> msgspec.Raw:
        """The list for a state."""
        query = Query(state.items, state.types, state.times, state.times[-1], purchased=state.purchased)
        (ranked,) = self._serving.recommend([query])
        self.fallback = ranked.fallback
        places = zip(ranked.item_ids, ranked.scores, ranked.sources, ranked.propensities, strict=True)
        return msgspec.Raw(self._json([RecommendedItem(*place) for place in places]))
