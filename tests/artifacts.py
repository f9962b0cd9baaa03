"""Artifacts for tests: real files of a small snapshot, written without training anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.files import architecture_of, features_of, write_snapshot
from stream.knowledge.manifest import MANIFEST, CataloguePosition, EventWindow, Manifest, PartitionSpan
from stream.knowledge.sealing import seal
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.store import ArtifactStore
from tests.worlds import catalogue_of, item, random_sessions, small_snapshot

NOON = 1_795_435_200_000  # 2026-11-23T12:00:00Z
ITEMS, TOPICS = 20, 4
HOUR = 3_600_000


def made_snapshot(seed: int = 1, items: int = ITEMS) -> tuple[Snapshot, Catalogue]:
    """A snapshot of so many items and the catalogue it was made with."""
    return (
        small_snapshot(random_sessions(items, 3 * items, seed, TOPICS), items, topics=TOPICS),
        catalogue_of(*(item(row, TOPICS) for row in range(items))),
    )


def drafted(snapshot: Snapshot, parent: str | None = None, **changes: Any) -> Manifest:  # noqa: ANN401
    """A manifest before it is sealed."""
    values: dict[str, Any] = {
        "id": "",
        "parent": parent,
        "created": "",
        "items": len(snapshot),
        "seed": 7,
        "window": EventWindow("events", 300, {0: PartitionSpan(5, 305)}),
        "catalogue": CataloguePosition("items", {0: ITEMS}),
        "settings": {},
        "features": {"pipeline": features_of(snapshot).pipeline},
        "architecture": architecture_of(snapshot),
        "metrics": {"held_out": {"candidate": {"recall@20": 0.5, "mrr@20": 0.25}}},
        "libraries": {},
        "files": {},
    }
    return Manifest(**(values | changes))


def publish_made(
    store: ArtifactStore,
    *,
    created: int = NOON,
    seed: int = 1,
    items: int = ITEMS,
    parent: str | None = None,
    **changes: Any,  # noqa: ANN401
) -> Manifest:
    """Publishes a small artifact; `changes` are fields of its manifest."""
    snapshot, catalogue = made_snapshot(seed, items)
    with store.building() as directory:
        write_snapshot(snapshot, catalogue, directory)
        manifest = seal(directory, drafted(snapshot, parent, **changes), created)
        store.publish(directory)
    return manifest


def place_of(store: ArtifactStore, artifact: str) -> Path:
    """The directory of an artifact in a local store."""
    place = Path(store.place(artifact).removeprefix("file://"))
    assert (place / MANIFEST).exists()
    return place
