"""The recommender as a contender calls it: once for each event, for the user's new state."""

from __future__ import annotations

from pathlib import Path

import msgspec

from stream.bench.contenders.job import State, Task
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.serving import LivePopularity, Query, Serving
from stream.knowledge.store import ArtifactStore
from stream.queries import EventQueries
from stream.settings import read_settings
from stream.wire.messages import Item


class Recommender:
    """The lists of one artifact, with the items of the task as the catalogue and the settings of the user."""

    fallback: str | None = None

    def __init__(self, task: Task) -> None:
        self.name: str | None = task.artifact
        settings = read_settings(Path(task.settings_file), {})
        catalogue = Catalogue()
        for offset, item_id in enumerate(task.items):
            catalogue.apply(0, offset, item_id, Item(item_id))
        snapshot = ArtifactStore(task.artifact_url, task.directory).open(task.artifact)
        slots, seed = settings.recommend.new_slots, settings.recommend.seed
        self.serving = Serving(snapshot, catalogue, LivePopularity(), new_slots=slots, seed=seed)
        self.serving.warm_up()
        self._usual = EventQueries.of(settings)

    def query(self, state: State) -> Query:
        """What the list for a state is asked with, as a worker asks."""
        usual = self._usual
        return Query(
            state.items,
            state.types,
            state.times,
            state.times[-1],
            count=usual.count,
            filters=usual.filters,
            purchased=state.purchased,
            intent=usual.intent,
        )

    def items(self, state: State) -> msgspec.Raw:
        """The list for a state, as a worker writes it."""
        (ranked,) = self.serving.recommend([self.query(state)])
        self.fallback = ranked.fallback
        return msgspec.Raw(ranked.lists.texts().items[ranked.at])
