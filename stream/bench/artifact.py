"""The artifact that lists are made from: learned once for a bench, from the part of the log that is not asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from stream.bench.logs import BenchLog
from stream.evaluation.event_log import NO_SESSION, EventLog
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.learning import learn
from stream.knowledge.manifest import created_after, time_part
from stream.knowledge.store import ArtifactStore
from stream.knowledge.threads import use_threads
from stream.knowledge.window import Window
from stream.settings import Settings
from stream.trainer.building import catalogue_position, draft_manifest, event_window, publish
from stream.wire.messages import ArtifactAnnouncement
from stream.wire.times import to_iso

MOST_LEARNED = 1_000_000  # events
PASSES = 1  # over the log: how long a list takes does not depend on how well it was learned


@dataclass(frozen=True)
class Artifact:
    """An artifact in a store of the bench's own."""

    id: str
    url: str
    manifest_sha256: str
    items: int

    def announcement(self) -> ArtifactAnnouncement:
        """What tells a worker to serve it; not a refresh's, which a trainer would take for another trainer's."""
        now = to_iso(time.time_ns() // 1_000_000)
        return ArtifactAnnouncement(self.id, None, f"{self.url}/{self.id}", self.manifest_sha256, now, "promote")


def learn_artifact(log: BenchLog, settings: Settings, directory: Path, say: Callable[[str], None]) -> Artifact:
    """Learns, publishes and verifies. Raises NothingToLearnError, ArtifactError."""
    use_threads(settings.trainer.threads)
    model = msgspec.structs.replace(settings.model, first_epochs=PASSES)
    window, catalogue = _window(log.learned, settings), _catalogue(log)
    say(f"learning from {len(window):,} events")
    created = created_after(time.time_ns() // 1_000_000, None)
    learned = learn(
        window,
        catalogue,
        None,
        artifact_id=time_part(created),
        event_types=settings.event_types(),
        model=model,
        seed=settings.trainer.seed,
        new_events=len(window),
        intent=settings.intent(),
    )
    store = ArtifactStore(str(directory / "artifacts"), directory / "cache")
    draft = draft_manifest(learned, event_window(window, {}, settings), catalogue_position({}, settings), settings)
    done = publish(store, learned.snapshot, catalogue, draft, created=created, progress=lambda _what, _share: None)
    return Artifact(done.manifest.id, store.url, done.manifest_sha256, len(done.snapshot))


def _window(log: EventLog, settings: Settings) -> Window:
    names = settings.event_types().names
    window = Window(names)
    newest = log.take(np.arange(len(log))[-min(settings.trainer.window_events, MOST_LEARNED) :])
    sessions = [NO_SESSION] * len(newest) if newest.sessions is None else newest.sessions.tolist()
    columns = (column.tolist() for column in (newest.users, newest.items, newest.types, newest.times))
    for user, item, kind, moment, session in zip(*columns, sessions, strict=True):
        told = None if session == NO_SESSION else str(session)
        window.append(newest.user_ids[user], newest.item_ids[item], names[kind], moment, told)
    return window


def _catalogue(log: BenchLog) -> Catalogue:
    catalogue = Catalogue()
    for offset, item in enumerate(log.items):
        catalogue.apply(0, offset, item.item_id, item)
    return catalogue
