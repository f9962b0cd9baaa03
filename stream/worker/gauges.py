"""What a worker holds, as gauges, looked at once a second."""

from __future__ import annotations

from aiokafka import TopicPartition
from faust.types import TP

from stream.metrics import WorkerMetrics
from stream.state.table import StateTable
from stream.worker.app import WorkerApp
from stream.worker.contiguity import Contiguity
from stream.worker.knowledge import Knowledge
from stream.worker.knowledge_follower import ArtifactsFollower


class Gauges:
    """Sets the gauges of a worker."""

    def __init__(
        self, metrics: WorkerMetrics, knowledge: Knowledge, artifacts: ArtifactsFollower, table: StateTable
    ) -> None:
        self._metrics = metrics
        self._knowledge = knowledge
        self._artifacts = artifacts
        self._table = table
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
        if app._consumer is not None:
            self._lag(app, contiguity)

    def _lag(self, app: WorkerApp, contiguity: Contiguity) -> None:
        positions = contiguity.positions()
        for tp in self._lagging - positions.keys():
            self._metrics.lag.remove(tp.topic, str(tp.partition))
        for tp, position in positions.items():
            end = app.consumer.highwater(TP(tp.topic, tp.partition))
            self._metrics.lag.labels(tp.topic, str(tp.partition)).set(max(0, (end or 0) - position))
        self._lagging = set(positions)
