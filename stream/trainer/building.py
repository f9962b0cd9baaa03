"""From what was learned to a published, verified artifact: the part of a refresh that needs no Kafka."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.files import architecture_of, features_of, write_snapshot
from stream.knowledge.learning import Learned
from stream.knowledge.manifest import ArtifactError, CataloguePosition, EventWindow, Manifest, PartitionSpan
from stream.knowledge.sealing import seal
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.store import ArtifactStore
from stream.knowledge.window import Window
from stream.settings import Settings
from stream.wire.times import to_iso
from stream.wire.topics import EVENTS, ITEMS


class Published(NamedTuple):
    """An artifact that stands in the store and reads back well."""

    snapshot: Snapshot
    manifest: Manifest
    manifest_sha256: str


def draft_manifest(learned: Learned, window: EventWindow, catalogue: CataloguePosition, settings: Settings) -> Manifest:
    """All of the manifest that is known before the files are written."""
    snapshot = learned.snapshot
    return Manifest(
        id="",
        parent=snapshot.parent,
        created="",
        items=len(snapshot),
        seed=snapshot.seed,
        window=window,
        catalogue=catalogue,
        settings=learned_settings(settings),
        features=msgspec.to_builtins(features_of(snapshot)),
        architecture=architecture_of(snapshot),
        metrics=learned.report,
        libraries={},
        files={},
    )


def publish(
    store: ArtifactStore,
    snapshot: Snapshot,
    catalogue: Catalogue,
    draft: Manifest,
    *,
    created: int,
    progress: Callable[[str, float], None],
) -> Published:
    """Builds an artifact, makes it visible in one step and reads it back; `created` in epoch milliseconds names it.

    Raises ArtifactError where it does not read back well (it is removed again), and what each file's writer raises
    where the disk is full or the store is away: nothing half is left.
    """
    progress("publish", 0.0)
    with store.building() as directory:
        write_snapshot(snapshot, catalogue, directory)
        manifest = seal(directory, draft, created)
        manifest_sha256 = store.publish(directory)
    progress("publish", 1.0)
    progress("verify", 0.0)
    problems = store.verify(manifest.id, manifest_sha256)
    progress("verify", 1.0)
    if problems:
        store.delete(manifest.id)
        raise ArtifactError(f"what was published does not read back: {'; '.join(problems)}")
    return Published(replace(snapshot, artifact_id=manifest.id), manifest, manifest_sha256)


def free_bytes(store: ArtifactStore) -> int | None:
    """The room left for artifacts; None for a remote store, or one in which nothing was built yet."""
    place = Path(store.url.removeprefix("file://"))
    return shutil.disk_usage(place).free if store.is_local and place.is_dir() else None


def event_window(window: Window, positions: dict[int, int], settings: Settings) -> EventWindow:
    """The window as the manifest says it; where a partition has no event in it, an empty span at its position."""
    bounds = window.bounds()
    spans = {}
    for partition, end in sorted(positions.items()):
        held = bounds.get(partition)
        spans[partition] = (
            PartitionSpan(end, end)
            if held is None
            else PartitionSpan(held.first_offset, end, to_iso(held.first_time), to_iso(held.last_time))
        )
    return EventWindow(settings.kafka.topic_prefix + EVENTS, len(window), spans)


def catalogue_position(positions: dict[int, int], settings: Settings) -> CataloguePosition:
    """How far `items` was read, as the manifest says it."""
    return CataloguePosition(settings.kafka.topic_prefix + ITEMS, dict(sorted(positions.items())))


def learned_settings(settings: Settings) -> dict[str, Any]:
    """The settings that an artifact depends on; none of them is a secret."""
    parts = {
        "events": settings.events,
        "recommend": settings.recommend,
        "model": settings.model,
        "trainer": {"window_events": settings.trainer.window_events, "seed": settings.trainer.seed},
    }
    return {"digest": settings.digest(), **msgspec.to_builtins(parts)}
