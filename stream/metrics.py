"""Every metric, by its name in the contract. The one place that knows prometheus_client.

No label ever holds a user or an item.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import SummaryMetricFamily
from prometheus_client.registry import Collector

from stream.memory_limit import memory_limit
from stream.wire.decoding import ERROR_CODES

disable_created_metrics()  # type: ignore[no-untyped-call]  # Prometheus has no use for when a counter began

PREFIX = "alluvium_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
STAGE_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
REFRESH_SECONDS = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
BATCH_EVENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
LOAD_OUTCOMES = ("loaded", "refused", "fallback")
REFRESH_OUTCOMES = ("published", "refused", "nothing", "failed")
STAGES = ("decode", "state", "candidates", "rank", "score", "gather", "emit")


class Total(Collector):
    """A summary that is added to in sums, as `name_sum` and `name_count`."""

    def __init__(self, name: str, help_text: str, registry: CollectorRegistry, *labels: str) -> None:
        self.name, self.help_text, self.labels = name, help_text, labels
        self._totals: dict[tuple[str, ...], tuple[int, float]] = {} if labels else {(): (0, 0.0)}
        registry.register(self)

    def add(self, count: int, total: float, *values: str) -> None:
        """Counts `count` observations that come to `total` together, under these values of the labels."""
        counted, so_far = self._totals.get(values, (0, 0.0))
        self._totals[values] = (counted + count, so_far + total)

    def remove(self, *values: str) -> None:
        """Tells no more of these values of the labels."""
        self._totals.pop(values, None)

    def collect(self) -> Iterator[SummaryMetricFamily]:
        """What the registry asks for."""
        family = SummaryMetricFamily(self.name, self.help_text, labels=self.labels)
        for values, (count, total) in self._totals.items():
            family.add_metric(values, count, total)
        yield family


class BatchHistogram(Histogram):
    """A histogram that takes the observations of a micro-batch at once."""

    def observe_all(self, values: npt.NDArray[np.float64]) -> None:
        """`observe` for each: a test holds that the library keeps its counts where this adds to them."""
        counts = np.bincount(np.searchsorted(self._upper_bounds, values), minlength=1)
        for bucket in np.flatnonzero(counts).tolist():
            self._buckets[bucket].inc(int(counts[bucket]))
        self._sum.inc(float(values.sum()))


class _Family:
    """Makes metrics of one registry with the common prefix; what every process says of itself is in it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.process = ProcessCollector(PREFIX.rstrip("_"), registry=self.registry)
        self.memory_limit = self._gauge("memory_limit_bytes", "What the process may use of the machine's memory.")
        self.memory_limit.set(memory_limit())
        self.kafka_up = self._gauge("kafka_up", "1 while a Kafka broker answers.")
        self.dead_letters = self._counter("dead_letters_total", "Messages that could not be read.", "reason")
        _start_at_zero(self.dead_letters, ERROR_CODES)
        self.lag = self._gauge("consumer_lag_events", "Records not yet taken.", "topic", "partition")
        self.artifact_info = self._gauge("artifact_info", "1 for the artifact that serves.", "artifact")
        self.artifact_age = self._gauge("artifact_age_seconds", "Age of the artifact that serves.")

    def text(self) -> bytes:
        """What `/metrics` answers."""
        return generate_latest(self.registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, help_text, labels, registry=self.registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(PREFIX + name, help_text, labels, registry=self.registry)

    def _histogram(self, name: str, help_text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(PREFIX + name, help_text, labels, buckets=buckets, registry=self.registry)


def _start_at_zero(counter: Counter, outcomes: Iterable[str]) -> None:
    for outcome in outcomes:  # Prometheus sees no increase in a series that begins at 1
        counter.labels(outcome)


def readiness_text(ready: bool) -> bytes:
    """The line of `/metrics` that says what `/readyz` says."""
    registry = CollectorRegistry()
    help_text = "1 when the process is ready for its work, as /readyz says."
    Gauge(PREFIX + "ready", help_text, registry=registry).set(ready)
    return generate_latest(registry)


class WorkerMetrics(_Family):
    """What a worker says of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.events = self._counter("events_total", "Events taken from the log.", "event_type", "outcome")
        self.recommendations = self._counter("recommendations_total", "Lists handed to Kafka.", "kind", "fallback")
        self.recommended_items = self._counter("recommended_items_total", "Places of the lists handed to Kafka.")
        self.exploration_slots = self._counter(
            "exploration_slots_total", "Of these, places whose new or untouched item was drawn by lot."
        )
        self.damaged = self._counter("damaged_states_total", "Users whose row was damaged and who began anew.")
        self.misplaced = self._counter("misplaced_events_total", "Events not on the partition of their key.")
        self.future = self._counter("future_events_total", "Events more than a minute ahead of the worker's clock.")
        self.event_to_recommendation = BatchHistogram(
            PREFIX + "event_to_recommendation_seconds",
            "From the event's Kafka timestamp to its list's delivery.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.stage = self._histogram("stage_seconds", "Time of one micro-batch in a stage.", STAGE_SECONDS, "stage")
        self.micro_batch = self._histogram("micro_batch_events", "Events of one micro-batch.", BATCH_EVENTS)
        self.users = self._gauge("users", "Users whose state this worker holds.")
        self.index_items = self._gauge("index_items", "Items of the artifact that serves.")
        self.cold_items = self._gauge("cold_items", "Items newer than the artifact that serves.")
        self.artifact_announced = self._gauge("artifact_announced_info", "1 for the announced artifact.", "artifact")
        self.artifact_loads = self._counter("artifact_loads_total", "Artifacts opened.", "outcome")
        _start_at_zero(self.artifact_loads, LOAD_OUTCOMES)
        self.swap = self._histogram("swap_seconds", "From an announcement to the artifact serving.", REFRESH_SECONDS)
        self._prequential()
        self.coverage = self._gauge("catalogue_coverage_ratio", "Share of the artifact's items recommended so far.")
        self.new_item_to_retrievable = self._histogram(
            "new_item_to_retrievable_seconds", "From an item's Kafka timestamp to its being a candidate.", SECONDS
        )

    def _prequential(self) -> None:
        self.prequential_hits = self._counter(
            "prequential_hits_total", "Events whose item stood in the list served before them.", "k", "event_type"
        )
        self.prequential_popular_hits = self._counter(
            "prequential_popular_hits_total", "The same for the list of the most popular items.", "k", "event_type"
        )
        self.prequential_events = self._counter(
            "prequential_events_total", "Events scored against the list served before them.", "event_type"
        )
        self.prequential_reciprocal_rank = Total(
            PREFIX + "prequential_reciprocal_rank", "Reciprocal ranks of the events scored.", self.registry
        )
        self.artifact_events = self._counter(
            "artifact_prequential_events_total",
            "Events scored, by the artifact that made the list before them: the newest few, or older, or none.",
            "artifact",
            "event_type",
        )
        self.artifact_hits = self._counter(
            "artifact_prequential_hits_total", "Those whose item stood in it.", "artifact", "k", "event_type"
        )
        self.artifact_reciprocal_rank = Total(
            PREFIX + "artifact_prequential_reciprocal_rank", "Their reciprocal ranks.", self.registry, "artifact"
        )

    def forget(self, artifact: str) -> None:
        """Tells no more of an artifact's scores."""
        self.artifact_events.remove_by_labels({"artifact": artifact})
        self.artifact_hits.remove_by_labels({"artifact": artifact})
        self.artifact_reciprocal_rank.remove(artifact)


class TrainerMetrics(_Family):
    """What the trainer says of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.refresh = self._counter("refresh_total", "Refreshes by how they ended.", "outcome")
        _start_at_zero(self.refresh, REFRESH_OUTCOMES)
        self.leads = self._gauge("trainer_leads", "1 for the trainer that publishes, 0 for one that stands by.")
        self.refresh_seconds = self._histogram("refresh_seconds", "Duration of a refresh.", REFRESH_SECONDS)
        self.refresh_loss = self._gauge("refresh_loss", "Training loss at the end of the last refresh.")
        self.refresh_events = self._gauge("refresh_events", "New events in the last refresh.")
        self.refresh_progress = self._gauge("refresh_progress", "Progress of the stages of a refresh, 0 to 1.", "stage")
        self.window_events = self._gauge("window_events", "Events in the trainer's window.")
        self.artifact_bytes = self._gauge("artifact_bytes", "Size of the artifact published last.")
        self.store_free = self._gauge("artifact_store_free_bytes", "Room left for artifacts where the store is local.")
