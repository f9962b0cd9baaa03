"""Watches a running demo from outside: the topics with a consumer, the processes through `/metrics`."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

import aiohttp

from stream.kafka import COMMITTED, reader, topic_end, topic_partitions
from stream.settings import KafkaSettings
from stream.shop.household import Household
from stream.shop.ledger import Latency, Ledger
from stream.shop.scrape import Samples, scrape
from stream.wire.dead_letters import ERROR
from stream.wire.decoding import Decoder
from stream.wire.topics import DEAD_LETTERS, EVENTS, RECOMMENDATIONS

DEPTH = "20"  # hits within this many places
RATE_SECONDS = 5.0  # over which rates are told
RECENT_SECONDS = 30.0  # over which the recent hit rate is told
NO_ARTIFACT = "none"


@dataclass
class Hits:
    """Scored events and how many of their items stood in our list, and in that of the most popular items."""

    events: float = 0.0
    ours: float = 0.0
    popular: float = 0.0

    def rates(self) -> tuple[float, float] | None:
        """Hit rate of our lists and of popularity; None before anything was scored."""
        return (self.ours / self.events, self.popular / self.events) if self.events else None

    def minus(self, other: Hits) -> Hits:
        """What was added since."""
        return Hits(self.events - other.events, self.ours - other.ours, self.popular - other.popular)

    def add(self, other: Hits) -> None:
        """Adds in place."""
        self.events, self.ours, self.popular = (
            self.events + other.events,
            self.ours + other.ours,
            self.popular + other.popular,
        )


@dataclass
class Facts:
    """All that the view shows at one moment."""

    elapsed: float = 0.0
    events: int = 0
    events_per_second: float = 0.0
    lists: int = 0
    lists_per_second: float = 0.0
    lag: float = 0.0
    latency: Latency | None = None
    artifact: str | None = None
    artifact_age: float = 0.0
    artifacts_served: int = 0
    refresh: dict[str, float] = field(default_factory=dict)
    hits: Hits = field(default_factory=Hits)
    recent: Hits = field(default_factory=Hits)
    dead: int = 0
    unanswered: int = 0
    items_new: int = 0
    reactions: int = 0


class Watch:
    """Follows events, lists and dead letters from the log's beginning, and asks the processes for their metrics."""

    def __init__(self, household: Household) -> None:
        self.ledger = Ledger(Decoder(household.settings.events))
        self.by_artifact: dict[str, Hits] = {}
        self.worker = Samples()
        self.facts = Facts()
        self._household = household
        self._kafka: KafkaSettings = household.settings.kafka
        self._begun = time.time()
        self._counts: deque[tuple[float, int, int]] = deque()
        self._scores: deque[tuple[float, Hits]] = deque()

    async def follow(self) -> None:
        """Reads the topics until cancelled."""
        async with reader(self._kafka, fetch_max_wait_ms=50, isolation_level=COMMITTED) as consumer:
            names = {self._kafka.topic_prefix + name: name for name in (EVENTS, RECOMMENDATIONS, DEAD_LETTERS)}
            consumer.assign(await topic_partitions(consumer, *names))
            async for record in consumer:
                name = names[record.topic]
                if name == EVENTS:
                    self.ledger.event(record.value, record.partition, record.offset, record.timestamp)
                elif name == RECOMMENDATIONS:
                    self.ledger.recommendation(record.value, time.time())
                else:
                    self.ledger.dead_letter(dict(record.headers).get(ERROR, b"?").decode("utf-8", "replace"))

    async def log_end(self) -> int:
        """How many records the events topic holds."""
        return await topic_end(self._kafka, self._kafka.topic_prefix + EVENTS)

    async def look(self, session: aiohttp.ClientSession) -> Facts:
        """The facts now; those of a process that does not answer stay as they were."""
        worker = await scrape(session, self._household.url("worker", "/metrics"))
        trainer = await scrape(session, self._household.url("trainer", "/metrics"))
        if worker is not None:
            self.worker = worker
            self._score(worker)
        if trainer is not None:
            self.facts.refresh = {
                sample.labels.get("stage", "refresh"): sample.value
                for sample in trainer.select("alluvium_refresh_progress")
            }
        self._count()
        return self.facts

    def _count(self) -> None:
        facts, ledger, now = self.facts, self.ledger, time.time()
        self._counts.append((now, ledger.records, ledger.lists))
        while now - self._counts[0][0] > RATE_SECONDS:
            self._counts.popleft()
        since, events, lists = self._counts[0]
        span = max(now - since, 1e-3)
        facts.events_per_second, facts.lists_per_second = (
            (ledger.records - events) / span,
            (ledger.lists - lists) / span,
        )
        facts.elapsed, facts.events, facts.lists = now - self._begun, ledger.records, ledger.lists
        facts.latency, facts.unanswered, facts.dead = ledger.latency(), ledger.unanswered, sum(ledger.dead.values())
        facts.artifacts_served = len(ledger.artifacts)

    def _score(self, worker: Samples) -> None:
        hits = Hits(
            worker.total("alluvium_prequential_events_total"),
            worker.total("alluvium_prequential_hits_total", k=DEPTH),
            worker.total("alluvium_prequential_popular_hits_total", k=DEPTH),
        )
        facts = self.facts
        serving = facts.artifact or NO_ARTIFACT  # what was scored since the last look was mostly served by that
        self.by_artifact.setdefault(serving, Hits()).add(hits.minus(facts.hits))
        facts.hits = hits
        now = time.time()
        self._scores.append((now, hits))
        while now - self._scores[0][0] > RECENT_SECONDS:
            self._scores.popleft()
        facts.recent = hits.minus(self._scores[0][1])
        facts.lag = worker.total("alluvium_consumer_lag_events")
        facts.artifact = next(
            (sample.labels["artifact"] for sample in worker.select("alluvium_artifact_info") if sample.value), None
        )
        facts.artifact_age = worker.total("alluvium_artifact_age_seconds")
