"""The worker's metrics of a micro-batch: counted once per batch, nothing per event."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter

import numpy as np

from stream.knowledge.serving import RankedList, Serving
from stream.logs import Log
from stream.metrics import WorkerMetrics
from stream.queries import ScoredEvents
from stream.settings import Settings
from stream.wire.partitioner import partitions_of
from stream.worker.batch import DEAD, UNKNOWN_TYPE, Served, Touched, outcome_counts
from stream.worker.prepared import Prepared
from stream.worker.scoring import DEPTHS, Score, score

KEPT = 5  # artifacts that are scored under their own names: those of some minutes
TOLD = 10  # users with a damaged row that are named, of a micro-batch
AHEAD = 60_000  # ms that a producer's clock may be ahead of ours
NO_ARTIFACT, OLDER = "none", "older"
NO_FALLBACK = "none"  # the `fallback` label of a list that is fully personal

log = Log("alluvium.worker")


class NewestArtifacts:
    """Under which name an artifact's lists are scored: its own as long as it is one of few, so that series stay few."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._kept: list[str] = []

    def names(self, artifacts: Collection[str | None], serving: str | None) -> dict[str | None, str]:
        """The `artifact` label of each: NO_ARTIFACT, an id (of the one that serves or of the newest ones), or OLDER."""
        known = {*self._kept, *(artifact for artifact in artifacts if artifact is not None)}
        newest = sorted(known, key=lambda artifact: (artifact == serving, artifact))[-KEPT:]
        for dropped in {*self._kept}.difference(newest):
            self._metrics.forget(dropped)
        self._kept = newest
        return {
            artifact: NO_ARTIFACT if artifact is None else artifact if artifact in newest else OLDER
            for artifact in artifacts
        }


class Measuring:
    """Counts what micro-batches did."""

    def __init__(self, metrics: WorkerMetrics, settings: Settings) -> None:
        self._metrics = metrics
        self.scored = ScoredEvents.of(settings)
        self._kafka = settings.kafka
        self._newest = NewestArtifacts(metrics)
        self._warned = False
        self._recommended = np.zeros(0, np.bool_)  # rows of the artifact's items
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

    def score(self, touched: Sequence[Touched], between: Sequence[Served], serving: Serving) -> Score:
        """Holds the events against the lists before them, ours and the popular one."""
        if not any(user.asked for user in touched):
            return Score()
        with self.stage("score"):
            return score(touched, between, serving.popular(DEPTHS[-1]))

    def batch(self, delivered: Prepared) -> None:
        """Counts a micro-batch that has been delivered."""
        metrics, touched, lists = self._metrics, delivered.touched, delivered.lists
        replied, serving = delivered.replied, delivered.serving
        for (event_type, outcome), count in outcome_counts(touched).items():
            metrics.events.labels(event_type, outcome).inc(count)
        metrics.micro_batch.observe(sum(len(user.events) for user in touched) + len(delivered.dead))
        kinds = Counter(("user", made.fallback or NO_FALLBACK) for made in lists)
        kinds.update((reply.kind, reply.made.fallback or NO_FALLBACK) for reply in replied.replies)
        for (kind, fallback), count in kinds.items():
            metrics.recommendations.labels(kind, fallback).inc(count)
        answers = [reply.made for reply in replied.replies]
        metrics.recommended_items.inc(sum(one.size for one in lists) + sum(made.size for made in answers))
        metrics.exploration_slots.inc(sum(one.drawn for one in lists) + sum(made.drawn for made in answers))
        now = time.time_ns() // 1_000_000
        waited = now - np.array([user.oldest_record_time for user in touched], np.int64)
        metrics.event_to_recommendation.observe_all(np.maximum(waited, 0) / 1000)
        metrics.future.inc(sum(len(touched[at].events) for at in np.flatnonzero(waited < -AHEAD).tolist()))
        self._misplaced(touched)
        self._damaged([user for user in touched if user.damaged])
        self._scored(delivered.scored, None if serving.snapshot is None else serving.snapshot.artifact_id)
        self._coverage(lists, serving)

    def dead(self, written: Prepared) -> None:
        """Counts a micro-batch's bad records, whose letters stand."""
        self._metrics.events.labels(UNKNOWN_TYPE, DEAD).inc(len(written.dead))
        for reason, count in Counter(bad.rejection.code for bad in (*written.dead, *written.replied.dead)).items():
            self._metrics.dead_letters.labels(reason).inc(count)

    def _damaged(self, users: Sequence[Touched]) -> None:
        self._metrics.damaged.inc(len(users))
        for user in users[:TOLD]:
            log.error("user state was damaged, begins anew", user=user.user_id, partition=user.partition)

    def _misplaced(self, touched: Sequence[Touched]) -> None:
        kafka = self._kafka
        right = partitions_of(kafka.partitioner, [user.key for user in touched], kafka.partitions)
        if right is None:
            return
        misplaced = [user for user, partition in zip(touched, right, strict=True) if partition != user.partition]
        if not misplaced:
            return
        self._metrics.misplaced.inc(sum(len(user.events) for user in misplaced))
        if not self._warned:
            self._warned = True
            log.warning(
                "events are not on the partition of their user, who may get two states: key events by user_id and "
                "partition them as kafka.partitioner says (librdkafka: partitioner=murmur2_random), or set "
                "kafka.partitioner to what the producers do",
                partitioner=self._kafka.partitioner,
                partition=misplaced[-1].partition,
            )

    def _scored(self, scored: Score, serving: str | None) -> None:
        metrics = self._metrics
        names = self._newest.names(scored.reciprocal_ranks, serving)
        for (artifact, event_type), count in scored.events.items():
            metrics.prequential_events.labels(event_type).inc(count)
            metrics.artifact_events.labels(names[artifact], event_type).inc(count)
            metrics.artifact_reciprocal_rank.add(count, 0.0, names[artifact])
        for (depth, (artifact, event_type)), count in scored.hits.items():
            metrics.prequential_hits.labels(str(depth), event_type).inc(count)
            metrics.artifact_hits.labels(names[artifact], str(depth), event_type).inc(count)
        for (depth, event_type), count in scored.popular_hits.items():
            metrics.prequential_popular_hits.labels(str(depth), event_type).inc(count)
        for artifact, total in scored.reciprocal_ranks.items():
            metrics.artifact_reciprocal_rank.add(0, total, names[artifact])
        metrics.prequential_reciprocal_rank.add(scored.events.total(), sum(scored.reciprocal_ranks.values()))

    def _coverage(self, lists: Sequence[RankedList], serving: Serving) -> None:
        snapshot = serving.snapshot
        if snapshot is None or len(snapshot) == 0:
            return
        if self._artifact != snapshot.artifact_id:
            self._artifact = snapshot.artifact_id
            self._recommended = np.zeros(len(snapshot), np.bool_)
        for together, ones in groupby(lists, attrgetter("lists")):
            rows = together.rows[[one.at for one in ones]]
            self._recommended[rows[(rows >= 0) & (rows < len(snapshot))]] = True
        self._metrics.coverage.set(np.count_nonzero(self._recommended) / len(snapshot))
