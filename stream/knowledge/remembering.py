"""Between two fits: the memories of a version, which only count, rebuilt from what has come since; nothing is trained.

Encoder, tower, index and ranker stay as they were. Items that are new get rows behind the others: their vector is what
the tower makes of their content (zero where nothing is known of it, so that no search finds them), and the counting
sources list them like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from indexing.source import Contents
from indexing.sources import names as source_names
from indexing.trending import Trending
from models.tower import ItemTower
from models.vocabulary import Vocabulary
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.counting import Counting
from stream.knowledge.log import Log
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.window import Window
from stream.settings import ModelSettings
from stream.wire.event_types import EventTypes

__all__ = ["POPULAR", "Remembered", "source_names"]

POPULAR = "popular"  # what everybody is shown who shows nothing


@dataclass(frozen=True)
class Remembered:
    """What memories are built from: a window and a catalogue, as `event_types` and `model` have them read."""

    window: Window
    catalogue: Catalogue
    event_types: EventTypes
    model: ModelSettings

    def alone(self, name: str, snapshot: Snapshot) -> Snapshot:
        """A snapshot that has seen the window, with one source (or `popular`) built from it, and nothing else."""
        log = self._log(snapshot.vocabulary, 0)
        if name == POPULAR:
            trending = Trending.build(log.interactions(), len(snapshot), int(log.times.max(initial=0)))
            return replace(snapshot, trending=trending)
        built = self._counting((name,), snapshot.vocabulary).memories(log.interactions())
        return replace(snapshot, memories={**snapshot.memories, **built})

    def into(self, snapshot: Snapshot, new_events: int) -> Snapshot:
        """The snapshot with memories and counts of the window, whose newest `new_events` it has not seen."""
        known = self._with_rows(snapshot)
        log = self._log(known.vocabulary, new_events)
        new = np.bincount(log.rows[log.new :], log.positive[log.new :], len(known))
        counted = self._counting(list(snapshot.memories), known.vocabulary).of(log)
        return replace(known, counts=known.counts + new.astype(np.float32), **counted._asdict())

    def _log(self, vocabulary: Vocabulary, new_events: int) -> Log:
        rows = vocabulary.lookup(self.window.item_ids)
        return Log.of(self.window, rows, self.event_types.weights, new_events, self.model.most_of_one_user)

    def _counting(self, sources: Sequence[str], vocabulary: Vocabulary) -> Counting:
        features = self.catalogue.features(vocabulary.ids, self.model.token_buckets)
        categories = self.catalogue.categories(vocabulary.ids)
        return Counting(Contents(features.tokens, features.starts), categories, self.event_types, sources)

    def _with_rows(self, snapshot: Snapshot) -> Snapshot:
        """The snapshot with rows, behind its own, for the items of the window that it does not know."""
        seen = np.unique(self.window.column("items")).tolist()
        names = (self.window.item_ids[number] for number in seen)
        item_ids = [item_id for item_id in names if item_id not in snapshot.vocabulary]
        if not item_ids:
            return snapshot
        tower, none = snapshot.tower, np.zeros((len(item_ids), snapshot.tower.dimensions), np.float32)
        tower = ItemTower(np.concatenate((tower.identities, none)), tower.tokens, tower.prices, tower.halfway)
        content = tower.encode_features(self.catalogue.features(item_ids, tower.buckets))
        vectors = np.concatenate((snapshot.item_vectors, content))
        return replace(
            snapshot,
            vocabulary=Vocabulary([*snapshot.vocabulary.ids, *item_ids]),
            item_vectors=vectors,
            counts=np.concatenate((snapshot.counts, none[:, 0])),
            encoder=snapshot.encoder.with_vectors(vectors),
            tower=tower,
        )
