"""One refresh, from what is new to the announcement of an artifact."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from stream.announcements import REFRESH, Announcements
from stream.failpoints import failpoint
from stream.knowledge.gate import judge
from stream.knowledge.learning import Learned, NothingToLearnError, learn
from stream.knowledge.manifest import created_after, time_part
from stream.knowledge.store import ArtifactStore
from stream.knowledge.threads import use_threads
from stream.logs import Log
from stream.metrics import TrainerMetrics
from stream.settings import Settings
from stream.trainer.building import Published, catalogue_position, draft_manifest, event_window, publish
from stream.trainer.items import DeadLetters
from stream.trainer.leadership import Announcer
from stream.trainer.memory import Memory
from stream.trainer.progress import RefreshProgress
from stream.wire.messages import ArtifactAnnouncement
from stream.wire.times import to_iso

PUBLISHED, REFUSED, NOTHING, FAILED = "published", "refused", "nothing", "failed"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Tools:
    """What a trainer works with, the same from start to end."""

    settings: Settings
    store: ArtifactStore
    announcer: Announcer
    progress: RefreshProgress
    metrics: TrainerMetrics
    log: Log


class Refresher:
    """Does refreshes, one at a time.

    `last` is the newest artifact it knows of, the next one's id comes after it; `announced` are those it has announced.
    """

    def __init__(
        self, tools: Tools, memory: Memory, dead_letters: DeadLetters, announcements: Announcements, last: str | None
    ) -> None:
        self.last = last
        self.announced: set[str] = set()
        self._tools, self._memory = tools, memory
        self._dead_letters, self._announcements = dead_letters, announcements

    async def refresh(self) -> str:
        """Makes, judges, publishes and announces the next artifact; how it ended, as the metric says it.

        1. Ask what is new; where nothing is, there is nothing to do.
        2. Learn from the window, starting from the parent (in a thread: reading goes on meanwhile).
        3. Judge against the parent; what is worse is refused and kept nowhere.
        4. Publish: build the files, make them visible by one rename, read them back and verify.
        5. Announce; only now can a worker hear of it.
        6. Forget artifacts that nobody needs.
        """
        # 1. What is new
        tools, memory, settings = self._tools, self._memory, self._tools.settings
        if not memory.has_news:
            return NOTHING
        memory.begin()
        started = time.monotonic()
        now = created_after(time.time_ns() // 1_000_000, self.last)
        window = event_window(memory.window, memory.positions, settings)
        items = catalogue_position(memory.item_positions, settings)

        # 2. Learn
        try:
            learned = await in_thread(lambda: self._learn(time_part(now)))
        except NothingToLearnError:
            return NOTHING

        # 3. Judge
        verdict = judge(learned.report, settings.model)
        failpoint("refresh.gate")
        if not verdict.passed:
            tools.log.warning("artifact refused", parent=_id(memory), reasons="; ".join(verdict.reasons))
            return REFUSED

        # 4. Publish
        await self._dead_letters.flush()
        learned.report["seconds"] = round(time.monotonic() - started, 3)
        draft = draft_manifest(learned, window, items, settings)
        published = await in_thread(
            lambda: publish(
                tools.store, learned.snapshot, memory.catalogue, draft, created=now, progress=tools.progress
            )
        )

        # 5. Announce
        failpoint("refresh.announce")
        await self._announce(published)
        failpoint("refresh.announced")
        tools.metrics.artifact_bytes.set(published.manifest.size)
        memory.learned(published.snapshot)

        # 6. Forget
        pinned = {announcement.artifact for announcement in self._announcements.channels.values()} | {self.last or ""}
        await in_thread(lambda: tools.store.collect(settings.artifacts.keep, pinned - {""}))
        self._tell(published, time.monotonic() - started)
        return PUBLISHED

    def _learn(self, name: str) -> Learned:
        memory, settings = self._memory, self._tools.settings
        use_threads(settings.trainer.threads)  # this one has its own count
        learned = learn(
            memory.window,
            memory.catalogue,
            memory.parent,
            artifact_id=name,
            event_types=settings.event_types(),
            model=settings.model,
            seed=settings.trainer.seed,
            new_events=memory.new_events,
            intent=settings.intent(),
            progress=self._tools.progress,
        )
        self._tools.metrics.refresh_events.set(memory.new_events)
        if learned.report["loss"] is not None:
            self._tools.metrics.refresh_loss.set(learned.report["loss"])
        return learned

    async def announce_again(self, artifact: str, parent: str | None, manifest_sha256: str, reason: str) -> None:
        """Announces an artifact that stands in the store already."""
        self.announced.add(artifact)
        self.last = max(self.last or artifact, artifact)
        now = to_iso(time.time_ns() // 1_000_000)
        announcement = ArtifactAnnouncement(
            artifact, parent, self._tools.store.place(artifact), manifest_sha256, now, reason
        )
        await self._tools.announcer.announce(announcement)

    async def _announce(self, published: Published) -> None:
        manifest = published.manifest
        await self.announce_again(manifest.id, manifest.parent, published.manifest_sha256, REFRESH)

    def _tell(self, published: Published, seconds: float) -> None:
        report = published.manifest.metrics
        held_out = report.get("held_out", {})
        scores = {name: f"{held_out[name]['recall@20']:.4f}" for name in held_out if name != "queries"}
        self._tools.log.info(
            "artifact published",
            artifact=published.manifest.id,
            parent=published.manifest.parent,
            seconds=round(seconds, 1),
            events=report["events"],
            new_events=report["new_events"],
            items=report["items"],
            loss=report["loss"],
            **{f"recall20_{name}": score for name, score in scores.items()},
        )


async def in_thread(work: Callable[[], Result]) -> Result:
    """Runs blocking work in a daemon thread: unlike an executor's, it keeps no stopping process alive."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # handed to whoever waits
            _tell_loop(loop, _fail, future, error)
        else:
            _tell_loop(loop, _succeed, future, result)

    threading.Thread(target=run, name="refresh", daemon=True).start()
    return await future


def _tell_loop(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *arguments: object) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call, *arguments)


def _fail(future: asyncio.Future[Result], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _succeed(future: asyncio.Future[Result], result: Result) -> None:
    if not future.done():
        future.set_result(result)


def _id(memory: Memory) -> str | None:
    return memory.parent.artifact_id if memory.parent else None
