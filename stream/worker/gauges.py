"""What a worker holds, as gauges, looked at once a second."""

from __future__ import annotations

from aiokafka import TopicPartition

from stream.kafka import LogWatch
from stream.metrics import WorkerMetrics
from stream.state.table import StateTable
from stream.worker.app import WorkerApp, committed_offset, is_recovered
from stream.worker.contiguity import Contiguity
from stream.worker.knowledge import Knowledge
from stream.worker.knowledge_follower import ArtifactsFollower


class Gauges:
    """Sets the gauges of a worker."""

    def __init__(
        self,
        metrics: WorkerMetrics,
        knowledge: Knowledge,
        artifacts: ArtifactsFollower,
        table: StateTable,
        watch: LogWatch,
    ) -> None:
        self._metrics = metrics
        self._knowledge = knowledge
        self._artifacts = artifacts
        self._table = table
        self._watch = watch
        self._lagging: set[TopicPartition] = set()

    @property
    def artifact(self) -> str | None:
        """The artifact that serves."""
        snapshot = self._knowledge.serving.snapshot
        return None if snapshot is None else snapshot.artifact_id

    def update(self, app: WorkerApp, contiguity: Contiguity) -> None:
        """Sets them all."""
        metrics, serving = self._metrics, self._knowledge.serving
        metrics.users.set(self._table.users())
        metrics.index_items.set(0 if serving.snapshot is None else len(serving.snapshot))
        metrics.cold_items.set(serving.cold_items)
        if self._artifacts.artifact_age is not None:
            metrics.artifact_age.set(self._artifacts.artifact_age)
        if is_recovered(app):
            self._lag(app, contiguity)

    def _lag(self, app: WorkerApp, contiguity: Contiguity) -> None:
        """Where the log ends is not asked of the consumer: one that stands still does not know."""
        watch, read = self._watch, contiguity.positions()
        logs = [tp for tp in app.consumer.assignment() if tp.topic != self._table.changelog_topic_name]
        held = {TopicPartition(tp.topic, tp.partition) for tp in logs} & watch.ends.keys()
        for tp in self._lagging - held:
            self._metrics.lag.remove(tp.topic, str(tp.partition))
        for tp in held:
            resumed = max(committed_offset(app, tp) or 0, watch.beginnings[tp])
            waiting = watch.ends[tp] - read.get(tp, resumed)
            self._metrics.lag.labels(tp.topic, str(tp.partition)).set(max(0, waiting))
        self._lagging = held
