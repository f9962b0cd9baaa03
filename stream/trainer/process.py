"""The trainer that leads: reads the log, refreshes, publishes. Plain aiokafka with its own offsets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from stream.announcements import REFRESH, RESTART, Announcements, follower
from stream.http import Readiness
from stream.kafka import Follower, admin_client
from stream.knowledge.fallback import fallback
from stream.knowledge.manifest import ArtifactError, Manifest, PartitionSpan, time_of
from stream.knowledge.snapshot import Snapshot
from stream.letter_writer import LetterWriter
from stream.logs import Log
from stream.settings import KafkaSettings
from stream.trainer.building import free_bytes
from stream.trainer.items import DeadLetters, ItemReader, read_standing
from stream.trainer.leadership import LETTERS, LeadershipLostError
from stream.trainer.memory import Memory
from stream.trainer.reading import EventReader
from stream.trainer.refresh import FAILED, NOTHING, Refresher, Tools, in_thread
from stream.trainer.tasks import running, until
from stream.wire.decoding import Decoder
from stream.wire.messages import ArtifactAnnouncement
from stream.wire.topics import DEAD_LETTERS, EVENTS, ITEMS, message_limit

TICK_SECONDS = 1.0
DEAD_LETTER_SLACK_MS = 86_400_000  # clocks of trainer and broker may differ

log = Log("alluvium.trainer")


class AnotherTrainerError(RuntimeError):
    """Another trainer announces artifacts on this topic. Operator action: stop one of the two."""


class Parent(NamedTuple):
    """The artifact to go on from."""

    snapshot: Snapshot
    manifest: Manifest


class Trainer:
    """Everything between the start and the end of one trainer process."""

    def __init__(self, tools: Tools, readiness: Readiness) -> None:
        self._tools, self._settings, self._store = tools, tools.settings, tools.store
        self._progress, self._metrics, self._readiness = tools.progress, tools.metrics, readiness
        self._announcements = Announcements(log, self._announced)
        self._refresher: Refresher | None = None
        self._other: ArtifactAnnouncement | None = None

    async def run(self) -> None:
        """Hears what is announced, finds the parent, follows items and events from there, refreshes again and again."""
        settings, prefix = self._settings, self._settings.kafka.topic_prefix
        self._readiness.wait_for("starting", "reading what is announced")
        announced = follower(settings.kafka, self._announcements.apply)
        async with running(announced.run()) as following:
            await until(announced.caught_up, following)
            self._readiness.wait_for("starting", "opening the newest artifact")
            parent = await in_thread(self._find_parent)
            spans, known_items = self._known(parent)
            decoder = Decoder(settings.events)
            dead_letters = await self._dead_letters(parent, known_items)
            events = EventReader(settings.kafka, prefix + EVENTS, decoder, log)
            items = ItemReader(decoder, dead_letters.put)
            catalogue = Follower(settings.kafka, [prefix + ITEMS], items.apply, room=dead_letters.room)
            memory = Memory(settings.event_types().names, settings.trainer.window_events, known_items)
            self._refresher = self._make_refresher(memory, dead_letters, parent)
            work = (dead_letters.run(), catalogue.run(), events.run(spans), self._measure_for_ever(memory, events))
            async with running(*work) as reading:
                self._readiness.wait_for("starting", "reading the catalogue and the window")
                await until(catalogue.caught_up, following | reading)
                await until(events.reread, following | reading)
                self._readiness.done("starting")
                await self._announce_if_nobody_has(parent)
                await self._refresh_for_ever(self._refresher, memory, events, items, following | reading)

    async def _refresh_for_ever(
        self,
        refresher: Refresher,
        memory: Memory,
        events: EventReader,
        items: ItemReader,
        tasks: set[asyncio.Task[Any]],
    ) -> None:
        due = time.monotonic()
        while True:
            memory.absorb(events, items)
            if self._is_time(memory, due):
                await self._follow_champion(memory)
                due = time.monotonic() + self._settings.trainer.refresh_seconds
                await self._refresh_once(refresher, memory)
            finished, _ = await asyncio.wait(tasks, timeout=min(TICK_SECONDS, max(due - time.monotonic(), 0.1)))
            for task in finished:
                task.result()
            if self._other is not None:
                raise AnotherTrainerError(
                    f"another trainer has announced artifact {self._other.artifact} on this topic: stop one of the two"
                )

    def _is_time(self, memory: Memory, due: float) -> bool:
        """The first refresh begins once there are enough events, the next ones every `trainer.refresh_seconds`."""
        enough = memory.parent is not None or len(memory.window) >= self._settings.trainer.min_events
        return enough and time.monotonic() >= due

    async def _refresh_once(self, refresher: Refresher, memory: Memory) -> None:
        started = time.monotonic()
        with self._progress.shown():
            try:
                outcome = await refresher.refresh()
            except LeadershipLostError:
                raise
            except Exception:  # whatever one refresh dies of, the artifact before it goes on serving
                log.exception("refresh failed", parent=memory.parent.artifact_id if memory.parent else None)
                memory.failed()
                outcome = FAILED
        self._metrics.refresh.labels(outcome).inc()
        if outcome != NOTHING:
            self._metrics.refresh_seconds.observe(time.monotonic() - started)
        self._show_artifact(memory.parent)

    def _find_parent(self) -> Parent | None:
        """The announced artifact, or what stands in for it where none is announced or it is not good."""
        champion = self._announcements.champion
        if champion is not None:
            parent = self._open(champion.artifact, champion.manifest_sha256)
            if parent is not None:
                return parent
        announced = (champion.artifact, champion.parent) if champion else (None, None)
        newest, problems = fallback(self._store, *announced)
        for problem in problems:
            log.warning("artifact is not good", problem=problem)
        return None if newest is None else self._open(newest, None)

    def _open(self, artifact: str, manifest_sha256: str | None) -> Parent | None:
        try:
            manifest = self._store.manifest(artifact, manifest_sha256)
            return Parent(self._store.open(artifact, manifest_sha256), manifest)
        except (ArtifactError, OSError) as error:
            log.warning("artifact is not good", artifact=artifact, problem=str(error))
            return None

    def _known(self, parent: Parent | None) -> tuple[Mapping[int, PartitionSpan], Mapping[int, int]]:
        """What of these topics the parent has learned from: nothing where it was made from others."""
        prefix = self._settings.kafka.topic_prefix
        if parent is None:
            return {}, {}
        window, catalogue = parent.manifest.window, parent.manifest.catalogue
        return (
            window.partitions if window.topic == prefix + EVENTS else {},
            catalogue.partitions if catalogue.topic == prefix + ITEMS else {},
        )

    async def _dead_letters(self, parent: Parent | None, known_items: Mapping[int, int]) -> DeadLetters:
        kafka = self._settings.kafka
        now = time.time_ns() // 1_000_000  # the artifact may have been made by a clock that was ahead
        since = 0 if parent is None or not known_items else min(time_of(parent.manifest.id), now) - DEAD_LETTER_SLACK_MS
        standing = partial(read_standing, kafka, max(since, 0))
        writer = LetterWriter(kafka, kafka.topic_prefix + LETTERS, await _letter_bytes(kafka), standing, log)
        return DeadLetters(writer, known_items, lambda reason: self._metrics.dead_letters.labels(reason).inc())

    def _make_refresher(self, memory: Memory, dead_letters: DeadLetters, parent: Parent | None) -> Refresher:
        memory.parent = parent.snapshot if parent else None
        self._metrics.artifact_bytes.set(parent.manifest.size if parent else 0)
        self._show_artifact(memory.parent)
        newest = [*self._store.list()[:1], *([parent.manifest.id] if parent else [])]
        log.info("trainer goes on", parent=parent.manifest.id if parent else None)
        return Refresher(self._tools, memory, dead_letters, self._announcements, max(newest, default=None))

    async def _announce_if_nobody_has(self, parent: Parent | None) -> None:
        """A trainer may have died between publishing its first artifact and announcing it."""
        if parent is None or self._refresher is None or self._announcements.champion is not None:
            return
        if parent.manifest.window.topic == self._settings.kafka.topic_prefix + EVENTS:
            sha256 = self._store.manifest_sha256(parent.manifest.id)
            await self._refresher.announce_again(parent.manifest.id, parent.manifest.parent, sha256, RESTART)

    async def _follow_champion(self, memory: Memory) -> None:
        """Goes on from the artifact that an operator has promoted, if any."""
        champion = self._announcements.champion
        if champion is None or memory.parent is None or champion.artifact == memory.parent.artifact_id:
            return
        parent = await in_thread(lambda: self._open(champion.artifact, champion.manifest_sha256))
        if parent is not None:
            log.info("trainer goes on", parent=champion.artifact, reason=champion.reason)
            memory.go_on_from(parent.snapshot, parent.manifest)

    def _announced(self, _channel: str, announcement: ArtifactAnnouncement) -> None:
        ours = self._refresher is None or announcement.artifact in self._refresher.announced
        if announcement.reason == REFRESH and not ours:
            self._other = announcement

    async def _measure_for_ever(self, memory: Memory, events: EventReader) -> None:
        topic = self._settings.kafka.topic_prefix + EVENTS
        while True:
            self._metrics.window_events.set(len(memory.window))
            for partition, lag in events.lags.items():
                self._metrics.lag.labels(topic, str(partition)).set(lag)
            free = free_bytes(self._store)
            if free is not None:
                self._metrics.store_free.set(free)
            if memory.parent is not None:
                self._metrics.artifact_age.set(max(0.0, time.time() - time_of(memory.parent.artifact_id) / 1000))
            await asyncio.sleep(TICK_SECONDS)

    def _show_artifact(self, parent: Snapshot | None) -> None:
        self._metrics.artifact_info.clear()
        if parent is not None:
            self._metrics.artifact_info.labels(parent.artifact_id).set(1)
            self._readiness.facts["artifact"] = parent.artifact_id


async def _letter_bytes(kafka: KafkaSettings) -> int:
    async with admin_client(kafka) as admin:
        return await message_limit(admin, kafka.topic_prefix + DEAD_LETTERS)
