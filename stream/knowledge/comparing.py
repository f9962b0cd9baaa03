"""What changed from one artifact to another: measures, settings, items, and what goes with the best-known items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.files import read_snapshot
from stream.knowledge.popularity import LivePopularity
from stream.knowledge.sealing import measures
from stream.knowledge.serving import Serving
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.store import ArtifactStore
from stream.wire.messages import NO_FILTERS

TOP_ITEMS, SIMILAR = 100, 10
EXAMPLES = 10


class Comparison(msgspec.Struct, frozen=True):
    """What changed from `first` to `second`.

    `metrics` and `settings` hold the values of both where they differ. `similar_overlap` is the mean share (0..1) of
    items that stand in both lists of SIMILAR items, over the best-known items that both have; None without any.
    """

    first: str
    second: str
    metrics: dict[str, tuple[str | None, str | None]]
    settings: dict[str, tuple[str | None, str | None]]
    items_added: int
    items_removed: int
    added_examples: list[str]
    removed_examples: list[str]
    similar_items: int
    similar_overlap: float | None


def compare_artifacts(store: ArtifactStore, first: str, second: str) -> Comparison:
    """From the first to the second. Raises ArtifactError where one of them is missing or damaged."""
    (first_place, before), (second_place, after) = store.fetch(first), store.fetch(second)
    old, new = read_snapshot(first_place, before), read_snapshot(second_place, after)
    added = [item_id for item_id in new.vocabulary.ids if item_id not in old.vocabulary]
    removed = [item_id for item_id in old.vocabulary.ids if item_id not in new.vocabulary]
    overlaps = similar_overlaps(old, new)
    return Comparison(
        first,
        second,
        differences(before.metrics, after.metrics),
        differences(before.settings, after.settings),
        len(added),
        len(removed),
        added[:EXAMPLES],
        removed[:EXAMPLES],
        len(overlaps),
        float(np.mean(overlaps)) if overlaps else None,
    )


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[str | None, str | None]]:
    """Values of nested maps that differ, by their dotted names.

    >>> differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 0.5})
    {'a.c': ('2', '3'), 'd': (None, '0.5000')}
    """
    before, after = dict(measures(old)), dict(measures(new))
    names = [*before, *(name for name in after if name not in before)]
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def similar_overlaps(old: Snapshot, new: Snapshot) -> list[float]:
    """For each of the best-known items of both, the share of its similar items that both name."""
    best = np.argsort(-new.counts, kind="stable")[:TOP_ITEMS]
    shared = [new.vocabulary.ids[row] for row in best if new.vocabulary.ids[row] in old.vocabulary]
    answers = [Serving(snapshot, Catalogue(), LivePopularity()) for snapshot in (old, new)]
    overlaps = []
    for item_id in shared:
        before, after = (set(serving.similar(item_id, SIMILAR, NO_FILTERS).item_ids) for serving in answers)
        overlaps.append(len(before & after) / max(len(before), len(after), 1))
    return overlaps
