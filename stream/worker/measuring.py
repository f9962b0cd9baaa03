"""The worker's metrics of a micro-batch: counted once per batch, nothing per event."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from stream.knowledge.serving import Serving
from stream.logs import Log
from stream.metrics import WorkerMetrics
from stream.settings import KafkaSettings
from stream.wire.event_types import EventTypes
from stream.wire.partitioner import PARTITIONERS
from stream.worker.answers import Made
from stream.worker.batch import DeadLetter, Touched, outcome_counts
from stream.worker.requests import Replied
from stream.worker.scoring import DEPTHS, Score, score

NO_FALLBACK = "none"  # the `fallback` label of a list that is fully personal

log = Log("alluvium.worker")


class Measuring:
    """Counts what micro-batches did."""

    def __init__(self, metrics: WorkerMetrics, kafka: KafkaSettings, types: EventTypes) -> None:
        self._metrics = metrics
        self._types = types
        self._partitioner = PARTITIONERS[kafka.partitioner]
        self._kafka = kafka
        self._warned = False
        self._recommended: set[str] = set()
        self._artifact: str | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a stage."""
        started = time.perf_counter()
        yield
        self.stage_took(name, time.perf_counter() - started)

    def stage_took(self, name: str, seconds: float) -> None:
        """Takes note of a stage's time."""
        self._metrics.stage.labels(name).observe(seconds)

    def score(self, touched: Sequence[Touched], serving: Serving) -> Score:
        """Holds the events against the lists served before them, ours and the popular one."""
        if not any(user.before for user in touched):
            return Score()
        return score(touched, serving.popular(DEPTHS[-1]), self._types)

    def batch(
        self,
        touched: Sequence[Touched],
        lists: Sequence[Made],
        *,
        dead: Sequence[DeadLetter],
        replied: Replied,
        scored: Score,
        serving: Serving,
    ) -> None:
        """Counts a micro-batch that has been delivered."""
        metrics = self._metrics
        for (event_type, outcome), count in outcome_counts(touched, len(dead)).items():
            metrics.events.labels(event_type, outcome).inc(count)
        metrics.micro_batch.observe(sum(len(user.events) for user in touched) + len(dead))
        for reason, count in Counter(letter.rejection.code for letter in (*dead, *replied.dead)).items():
            metrics.dead_letters.labels(reason).inc(count)
        kinds = Counter(("user", made.fallback or NO_FALLBACK) for made in lists)
        kinds.update((reply.kind, reply.made.fallback or NO_FALLBACK) for reply in replied.replies)
        for (kind, fallback), count in kinds.items():
            metrics.recommendations.labels(kind, fallback).inc(count)
        now = time.time_ns() // 1_000_000
        for user in touched:
            metrics.event_to_recommendation.observe(max(0, now - user.oldest_record_time) / 1000)
        self._misplaced(touched)
        self._scored(scored)
        self._coverage(lists, serving)

    def _misplaced(self, touched: Sequence[Touched]) -> None:
        if self._partitioner is None:
            return
        count = 0
        example: Touched | None = None
        for user in touched:
            if self._partitioner(user.user_id.encode(), self._kafka.partitions) != user.partition:
                count += len(user.events)
                example = user
        if example is None:
            return
        self._metrics.misplaced.inc(count)
        if not self._warned:
            self._warned = True
            log.warning(
                "events are not on the partition of their user, who may get two states: key events by user_id and "
                "partition them as kafka.partitioner says (librdkafka: partitioner=murmur2_random), or set "
                "kafka.partitioner to what the producers do",
                partitioner=self._kafka.partitioner,
                partition=example.partition,
            )

    def _scored(self, scored: Score) -> None:
        metrics = self._metrics
        for event_type, count in scored.events.items():
            metrics.prequential_events.labels(event_type).inc(count)
        for (depth, event_type), count in scored.hits.items():
            metrics.prequential_hits.labels(str(depth), event_type).inc(count)
        for (depth, event_type), count in scored.popular_hits.items():
            metrics.prequential_popular_hits.labels(str(depth), event_type).inc(count)
        metrics.prequential_reciprocal_rank.add(scored.events.total(), scored.reciprocal_rank_sum)

    def _coverage(self, lists: Sequence[Made], serving: Serving) -> None:
        snapshot = serving.snapshot
        if snapshot is None or len(snapshot) == 0:
            return
        if self._artifact != snapshot.artifact_id:
            self._artifact = snapshot.artifact_id
            self._recommended.clear()
        rows = snapshot.vocabulary.rows
        self._recommended.update(item for made in lists for item in made.item_ids if item in rows)
        self._metrics.coverage.set(len(self._recommended) / len(snapshot))
