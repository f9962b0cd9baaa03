"""The worker's life: HTTP first, then Kafka, the catalogue and the artifact, then the group; a signal ends it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
import time
from functools import partial

from stream.http import Readiness, serve
from stream.kafka import LogWatch, admin_client, patiently, wait_for_broker
from stream.logs import Log
from stream.metrics import WorkerMetrics
from stream.settings import Settings
from stream.state.table import StateTable
from stream.wire.topics import (
    DEAD_LETTERS,
    EVENTS,
    REQUESTS,
    STATE,
    TopicsError,
    message_limit,
    topic_advice,
    topic_names,
    topic_problems,
)
from stream.worker.app import (
    Agent,
    WorkerApp,
    add_table,
    build_app,
    committed_offset,
    end_at_once,
    is_recovered,
    watch_for_crash,
)
from stream.worker.dead_letters import Letters
from stream.worker.gauges import Gauges
from stream.worker.knowledge import Knowledge
from stream.worker.knowledge_follower import ArtifactsFollower, ItemsFollower
from stream.worker.mending import Mending
from stream.worker.outbox import start_producer
from stream.worker.step import MicroBatch

PROBE_SECONDS = 0.2
GAUGE_SECONDS = 1.0
STOP_SECONDS = 10.0  # takes 1 to 3 where Kafka answers
BROKER, TOPICS, CATALOGUE, ARTIFACT, PARTITIONS = "broker", "topics", "catalogue", "artifact", "partitions"
WAITING_FOR = {
    BROKER: "no Kafka broker has answered yet",
    TOPICS: "topics not checked yet",
    CATALOGUE: "catalogue not read yet",
    ARTIFACT: "announced artifact not loaded yet",
    PARTITIONS: "partitions not assigned or tables not recovered yet",
}

log = Log("alluvium.worker")


class StuckError(RuntimeError):
    """Partitions were not assigned, or state not recovered, within `worker.startup_seconds`.

    Operator action: the process ends so that its supervisor starts it anew; if it goes on, look at the broker's log.
    """


async def run_worker(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT. Raises PortTakenError, TopicsError, UnknownFaustError, KafkaError or a group."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await Worker(settings).run(stop)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class Worker:
    """One worker process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = WorkerMetrics()
        self._readiness = Readiness()
        for step, reason in WAITING_FOR.items():
            self._readiness.wait_for(step, reason)
        self._knowledge = Knowledge(settings, time.monotonic)
        self._items = ItemsFollower(settings, self._knowledge, self._metrics)
        self._artifacts = ArtifactsFollower(settings, self._knowledge, self._metrics)
        names = topic_names(settings.kafka, settings.worker.group_id)
        topics = [names[name] for name in (EVENTS, REQUESTS, STATE)]
        self._watch = LogWatch(settings.kafka, topics, self._metrics.kafka_up.set)

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set."""
        worker = self._settings.worker
        async with serve(worker.http_host, worker.http_port, self._metrics.text, self._readiness) as port:
            log.info("worker starts", http=f"{worker.http_host}:{port}", group=worker.group_id)
            watching = asyncio.create_task(self._watch.run())
            life = asyncio.create_task(self._live(port))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait((life, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            life.cancel()
            watching.cancel()
            done, _pending = await asyncio.wait((life,), timeout=STOP_SECONDS)
            if not done:
                end_at_once("worker does not stop", TimeoutError(f"not within {STOP_SECONDS:g} s: is Kafka there?"))
            with contextlib.suppress(asyncio.CancelledError):
                life.result()
            log.info("worker stopped")

    async def _live(self, port: int) -> None:
        await wait_for_broker(self._settings.kafka, log, partial(self._readiness.wait_for, BROKER))
        self._readiness.done(BROKER)
        await patiently(self._check_topics)
        async with asyncio.TaskGroup() as tasks:
            for follower in (self._items.follower, self._artifacts.follower):
                tasks.create_task(follower.run())
            tasks.create_task(self._artifacts.run())
            await self._items.follower.caught_up.wait()
            self._readiness.done(CATALOGUE)
            await self._artifacts.settled.wait()
            self._readiness.done(ARTIFACT)
            _calm_collector()
            await self._serve_events(f"http://{socket.gethostname()}:{port}")

    async def _check_topics(self) -> None:
        settings = self._settings
        async with admin_client(settings.kafka) as admin:
            problems = await topic_problems(admin, settings.kafka, settings.worker.group_id)
            if problems:
                raise TopicsError("\n".join(problems))
            for advice in await topic_advice(admin, settings.kafka, settings.worker.group_id):
                log.warning("topic should be altered", advice=advice)
            self._letter_bytes = await message_limit(admin, settings.kafka.topic_prefix + DEAD_LETTERS)
        self._readiness.done(TOPICS)

    async def _serve_events(self, url: str) -> None:
        """Joins the group and answers until cancelled; then finishes and commits what is in flight, and leaves."""
        settings = self._settings
        app = build_app(settings, url)
        table = add_table(app, settings)
        producer = await patiently(partial(start_producer, settings.kafka))
        committed = partial(committed_offset, app)
        letters = Letters(settings.kafka, settings.worker.group_id, self._letter_bytes, committed)
        await patiently(letters.check)
        step = MicroBatch(
            settings,
            table=table,
            producer=producer,
            knowledge=self._knowledge,
            letters=letters,
            metrics=self._metrics,
            generation=lambda: app.consumer_generation_id,
        )
        mending = Mending(table, self._watch)
        agent = Agent(app, settings, step, letters.close, mending)
        watching = asyncio.create_task(self._look(app, agent, table, mending))
        watching.add_done_callback(_end_with)
        crash = asyncio.create_task(watch_for_crash(app))
        try:
            await app.start()
            await asyncio.Event().wait()
        finally:
            watching.cancel()
            await app.stop()
            crash.cancel()
            await letters.close()
            await producer.stop()

    async def _look(self, app: WorkerApp, agent: Agent, table: StateTable, mending: Mending) -> None:
        """Keeps /readyz and the gauges true, has the changelog mended, ends the process if it is stuck."""
        gauges = Gauges(self._metrics, self._knowledge, self._artifacts, table, self._watch)
        limit = self._settings.worker.startup_seconds
        ready_at, gauged_at, told = time.monotonic(), 0.0, -1
        while True:
            now = time.monotonic()
            if is_recovered(app):
                ready_at = now
                self._readiness.done(PARTITIONS)
                if told != app.consumer_generation_id:
                    told, gauged_at = app.consumer_generation_id, 0.0
                    held = sorted({tp.partition for tp in app.consumer.assignment()})
                    self._readiness.facts["partitions"] = held
                    log.info("partitions assigned", generation=told, partitions=held, users=table.users())
            else:
                self._readiness.wait_for(PARTITIONS, WAITING_FOR[PARTITIONS])
                if now - ready_at > limit:
                    end_at_once("worker is stuck", StuckError(f"no partitions recovered for {limit:g} s"))
            if now - gauged_at >= GAUGE_SECONDS:
                gauged_at = now
                gauges.update(app, agent.contiguity)
                if is_recovered(app):
                    agent.mend(mending.find({tp.partition for tp in app.consumer.assignment()}))
                self._readiness.facts |= {"artifact": gauges.artifact, **self._artifacts.facts}
            await asyncio.sleep(PROBE_SECONDS)


def _end_with(task: asyncio.Task[None]) -> None:
    """Nobody would know that a process is not ready if the task that says so had failed."""
    if not task.cancelled() and (error := task.exception()) is not None:
        end_at_once("looking failed", error)


def _calm_collector() -> None:
    """What has been made so far stays; a micro-batch makes some ten thousand short-lived objects without a cycle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
