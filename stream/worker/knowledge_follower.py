"""Follows `items` and `artifacts` whole, without a group: every worker knows all items and the artifact to serve."""

from __future__ import annotations

import asyncio
import contextlib
import time

from aiokafka.structs import ConsumerRecord

from stream.announcements import Announcements, follower
from stream.kafka import Follower
from stream.knowledge.fallback import fallback
from stream.knowledge.manifest import ArtifactError, time_of
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.store import ArtifactStore
from stream.logs import Log
from stream.metrics import WorkerMetrics
from stream.settings import Settings
from stream.wire.decoding import Decoder, Rejection
from stream.wire.messages import ArtifactAnnouncement
from stream.wire.topics import ITEMS
from stream.worker.knowledge import Knowledge
from stream.worker.short_turns import short_turns

LOADED, REFUSED, FALLBACK = "loaded", "refused", "fallback"
RETRY_SECONDS, RETRY_MOST_SECONDS = 5.0, 300.0  # twice as long after each refusal: a store may be away for a while

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
    """Opens what is announced on the `champion` channel and swaps it in; a bad artifact changes nothing.

    What was refused is tried again, ever more seldom: the store may have been away, or the artifact be mended.
    """

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
        self._refused: str | None = None  # why what is announced does not serve
        self.settled = asyncio.Event()  # the announced artifact was loaded or refused, or none was announced
        self.follower = follower(settings.kafka, self._apply)

    @property
    def artifact_age(self) -> float | None:
        """Seconds since the artifact that serves was made."""
        return None if self._created is None else time.time() - self._created

    @property
    def facts(self) -> dict[str, str | None]:
        """What is announced, and why it does not serve where it was refused."""
        announced = self._announced[0].artifact if self._announced else None
        return {"announced": announced, "refused": self._refused}

    async def run(self) -> None:
        """Loads one announcement after the other, always the newest, until cancelled."""
        await self.follower.caught_up.wait()
        pause = RETRY_SECONDS
        while True:
            is_new = self._news.is_set()
            self._news.clear()
            if self._announced is not None:
                await self._load(*self._announced)
            self.settled.set()
            pause = RETRY_SECONDS if is_new else min(2 * pause, RETRY_MOST_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), pause if self._refused else None)

    def _apply(self, record: ConsumerRecord) -> None:
        before = self._announcements.champion
        self._announcements.apply(record)
        champion = self._announcements.champion
        if champion is not None and champion is not before:
            self._announced = (champion, record.timestamp / 1000)
            self._metrics.artifact_announced.clear()
            self._metrics.artifact_announced.labels(champion.artifact).set(1)
            self._news.set()

    async def _load(self, announcement: ArtifactAnnouncement, announced_at: float) -> None:
        serving = self._knowledge.serving.snapshot
        if serving is not None and serving.artifact_id == announcement.artifact:
            self._refused = None
            return
        self._refused = await self._try(announcement.artifact, announcement.manifest_sha256, announced_at, LOADED)
        if self._refused is not None and serving is None:
            await self._fall_back(announcement, announced_at)

    async def _fall_back(self, refused: ArtifactAnnouncement, announced_at: float) -> None:
        """Started with a bad announced artifact: what stands in for it is better than none."""
        try:
            artifact, _problems = await asyncio.to_thread(fallback, self._store, refused.artifact, refused.parent)
        except OSError as error:
            log.warning("artifact store not readable", error=str(error))
            return
        if artifact is not None:
            log.warning("another artifact stands in for the announced one", refused=refused.artifact, artifact=artifact)
            await self._try(artifact, None, announced_at, FALLBACK)

    async def _try(self, artifact: str, manifest_sha256: str | None, announced_at: float, outcome: str) -> str | None:
        """Changes to an artifact; why it was refused, None where it serves."""
        started = time.perf_counter()
        try:
            with short_turns():
                snapshot = await asyncio.to_thread(self._store.open, artifact, manifest_sha256)
                await self._knowledge.swap(snapshot)
        except Exception as error:  # the boundary to a bad artifact: whatever it makes fail, the one before serves on
            self._metrics.artifact_loads.labels(REFUSED).inc()
            reason = str(error) if isinstance(error, ArtifactError | OSError) else f"{type(error).__name__}: {error}"
            kept = self._knowledge.serving.snapshot
            log.warning("artifact refused", artifact=artifact, error=reason, serving=kept.artifact_id if kept else None)
            return reason
        self._count(snapshot, announced_at, outcome)
        seconds = f"{time.perf_counter() - started:.2f}"
        log.info("artifact serves", artifact=artifact, items=len(snapshot), seconds=seconds)
        return None

    def _count(self, snapshot: Snapshot, announced_at: float, outcome: str) -> None:
        metrics = self._metrics
        metrics.artifact_loads.labels(outcome).inc()
        metrics.swap.observe(max(0.0, time.time() - announced_at))
        metrics.artifact_info.clear()
        metrics.artifact_info.labels(snapshot.artifact_id).set(1)
        self._created = time_of(snapshot.artifact_id) / 1000
