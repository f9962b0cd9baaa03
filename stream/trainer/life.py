"""The life of a trainer process: HTTP first, then Kafka; it stands by while another one leads, then it leads."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from rich.console import Console

from stream.http import Readiness, serve
from stream.kafka import LogWatch, admin_client, wait_for_broker
from stream.knowledge.directories import StoreInUseError
from stream.knowledge.store import ArtifactStore
from stream.knowledge.threads import use_threads
from stream.logs import Log
from stream.metrics import TrainerMetrics
from stream.settings import Settings
from stream.trainer.leadership import Leadership, announcer
from stream.trainer.process import Trainer
from stream.trainer.progress import RefreshProgress
from stream.trainer.refresh import Tools
from stream.trainer.tasks import running, until
from stream.wire.topics import EVENTS, TopicsError, topic_problems

LOCK_SECONDS = 1.0

log = Log("alluvium.trainer")


async def run_trainer(settings: Settings, console: Console) -> None:
    """Runs until cancelled: stands by while another trainer leads, then leads.

    Raises TopicsError, PortTakenError, AnotherTrainerError, LeadershipLostError with what to do, KafkaError where the
    broker refuses.
    """
    metrics, readiness = TrainerMetrics(), Readiness("starting")
    progress = RefreshProgress(metrics, console)
    store = ArtifactStore(settings.artifacts.url, settings.artifacts.cache_dir)
    use_threads(settings.trainer.threads)
    try:
        async with AsyncExitStack() as stack:
            port = await stack.enter_async_context(
                serve(settings.trainer.http_host, settings.trainer.http_port, metrics.text, readiness)
            )
            log.info("trainer starts", http_port=port, store=store.url)
            watch = LogWatch(settings.kafka, [settings.kafka.topic_prefix + EVENTS], metrics.kafka_up.set)
            await stack.enter_async_context(running(watch.run()))
            await _wait_for_topics(settings, readiness)
            role = Role(readiness, metrics)
            leadership = Leadership(settings.kafka, settings.trainer.session_timeout_seconds, role.stand_by)
            group = await stack.enter_async_context(running(leadership.run()))
            await until(leadership.won, group)
            role.lead()
            await _until_held(store, stack, readiness, group)
            log.info("trainer leads", cleaned=len(store.clean()))
            announcing = await stack.enter_async_context(announcer(settings.kafka))
            trainer = Trainer(Tools(settings, store, announcing, progress, metrics, log), readiness)
            async with running(trainer.run()) as working:
                await until(asyncio.Event(), working | group)
    finally:
        progress.stop()


class Role:
    """What /readyz and the metric say of a trainer among others: the one that leads, or one that stands by."""

    def __init__(self, readiness: Readiness, metrics: TrainerMetrics) -> None:
        self._readiness, self._metrics = readiness, metrics
        readiness.wait_for("starting", "joining the group of trainers")

    def stand_by(self) -> None:
        """Ready to take over; nothing else is to be done."""
        self._readiness.facts["role"] = "standby"
        self._readiness.done("starting")

    def lead(self) -> None:
        """From now on it is for this trainer to publish."""
        self._readiness.facts["role"] = "leader"
        self._readiness.wait_for("starting", "taking over")
        self._metrics.leads.set(1)


async def _wait_for_topics(settings: Settings, readiness: Readiness) -> None:
    def waiting(reason: str) -> None:
        readiness.wait_for("starting", reason)

    await wait_for_broker(settings.kafka, log, waiting)
    async with admin_client(settings.kafka) as admin:
        problems = await topic_problems(admin, settings.kafka, settings.worker.group_id)
    if problems:
        raise TopicsError("; ".join(problems))


async def _until_held(
    store: ArtifactStore, stack: AsyncExitStack, readiness: Readiness, tasks: set[asyncio.Task[Any]]
) -> None:
    """Holds the store's lock: a trainer of other topics, or one that led before and hangs, may still have it."""
    told = False
    while True:
        try:
            stack.enter_context(store.trainer_lock())
            return
        except StoreInUseError as error:
            readiness.wait_for("starting", str(error))
            if not told:
                log.warning("waiting for the artifact store", reason=str(error))
            told = True
            finished, _ = await asyncio.wait(tasks, timeout=LOCK_SECONDS)
            for task in finished:
                task.result()
