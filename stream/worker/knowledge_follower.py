"""Follows `items` and `artifacts` whole, without a group: every worker knows all items and the artifact to serve."""

from __future__ import annotations

import asyncio
import time

from aiokafka.structs import ConsumerRecord

from stream.announcements import Announcements
from stream.kafka import Follower
from stream.knowledge.manifest import ArtifactError, time_of
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.store import ArtifactStore
from stream.logs import Log
from stream.metrics import WorkerMetrics
from stream.settings import Settings
from stream.wire.decoding import Decoder, Rejection
from stream.wire.messages import ArtifactAnnouncement
from stream.wire.topics import ARTIFACTS, ITEMS
from stream.worker.knowledge import Knowledge

LOADED, REFUSED = "loaded", "refused"
RETRY_SECONDS = 5.0

log = Log("alluvium.worker")


class ItemsFollower:
    """Applies `items` to the catalogue. Bad records are counted; the trainer, of which there is one, writes letters."""

    def __init__(self, settings: Settings, knowledge: Knowledge, metrics: WorkerMetrics) -> None:
        self._decoder = Decoder(settings.events)
        self._knowledge = knowledge
        self._metrics = metrics
        self.follower = Follower(settings.kafka, [settings.kafka.topic_prefix + ITEMS], self._apply)

    def _apply(self, record: ConsumerRecord) -> None:
        entry = self._decoder.catalogue_entry(record.key, record.value)
        if isinstance(entry, Rejection):
            self._metrics.dead_letters.labels(entry.code).inc()
            return
        item_id, item = entry
        new = self._knowledge.apply_item(record.partition, record.offset, item_id, item)
        if new and self.follower.caught_up.is_set():
            waited = time.time() - record.timestamp / 1000
            self._metrics.new_item_to_retrievable.observe(max(0.0, waited))


class ArtifactsFollower:
    """Opens what is announced on the `champion` channel and swaps it in; a bad artifact changes nothing."""

    def __init__(
        self,
        settings: Settings,
        knowledge: Knowledge,
        metrics: WorkerMetrics,
    ) -> None:
        self._store = ArtifactStore(settings.artifacts.url, settings.artifacts.cache_dir)
        self._knowledge = knowledge
        self._metrics = metrics
        self._announcements = Announcements(log)
        self._announced: tuple[ArtifactAnnouncement, float] | None = None
        self._news = asyncio.Event()
        self._created: float | None = None
        self.settled = asyncio.Event()  # the announced artifact was loaded or refused, or none was announced
        self.follower = Follower(settings.kafka, [settings.kafka.topic_prefix + ARTIFACTS], self._apply)

    @property
    def artifact_age(self) -> float | None:
        """Seconds since the artifact that serves was made."""
        return None if self._created is None else time.time() - self._created

    async def run(self) -> None:
        """Loads one announcement after the other, always the newest, until cancelled."""
        await self.follower.caught_up.wait()
        while True:
            if self._announced is not None:
                self._news.clear()
                await self._load(*self._announced)
            self.settled.set()
            await self._news.wait()

    def _apply(self, record: ConsumerRecord) -> None:
        before = self._announcements.champion
        self._announcements.apply(record)
        champion = self._announcements.champion
        if champion is not None and champion is not before:
            self._announced = (champion, record.timestamp / 1000)
            self._news.set()

    async def _load(self, announcement: ArtifactAnnouncement, announced_at: float) -> None:
        serving = self._knowledge.serving.snapshot
        if serving is not None and serving.artifact_id == announcement.artifact:
            return
        if await self._try(announcement.artifact, announcement.manifest_sha256, announced_at):
            return
        if serving is None:
            await self._fall_back(announcement.artifact, announced_at)

    async def _fall_back(self, refused: str, announced_at: float) -> None:
        """Started with a bad announced artifact: the newest valid one is better than none."""
        try:
            artifact, _problems = await asyncio.to_thread(self._store.newest_valid)
        except OSError as error:
            log.warning("artifact store not readable", error=str(error))
            return
        if artifact is not None and artifact != refused:
            log.warning("falling back to the newest valid artifact", refused=refused, artifact=artifact)
            await self._try(artifact, None, announced_at)

    async def _try(self, artifact: str, manifest_sha256: str | None, announced_at: float) -> bool:
        started = time.perf_counter()
        try:
            snapshot = await asyncio.to_thread(self._store.open, artifact, manifest_sha256)
            await self._knowledge.swap(snapshot)
        except (ArtifactError, OSError) as error:
            self._metrics.artifact_loads.labels(REFUSED).inc()
            kept = self._knowledge.serving.snapshot
            log.warning(
                "artifact refused", artifact=artifact, error=str(error), serving=kept.artifact_id if kept else None
            )
            return False
        self._count(snapshot, announced_at)
        seconds = f"{time.perf_counter() - started:.2f}"
        log.info("artifact serves", artifact=artifact, items=len(snapshot), seconds=seconds)
        return True

    def _count(self, snapshot: Snapshot, announced_at: float) -> None:
        metrics = self._metrics
        metrics.artifact_loads.labels(LOADED).inc()
        metrics.swap.observe(max(0.0, time.time() - announced_at))
        metrics.artifact_info.clear()
        metrics.artifact_info.labels(snapshot.artifact_id).set(1)
        self._created = time_of(snapshot.artifact_id) / 1000
