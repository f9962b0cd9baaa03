"""Metrics of our own make say what the library's own would."""

from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from stream.metrics import BatchHistogram


def test_a_histogram_of_batches_is_a_histogram() -> None:
    """The same text as the library's, observation by observation, on and beyond the bounds."""
    bounds, values = (0.125, 0.5, 2.0), [0.0, 0.125, 0.25, 0.5, 7.0, 0.375, 2.0]
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    batches = BatchHistogram("seconds", "How long.", buckets=bounds, registry=ours)
    single = Histogram("seconds", "How long.", buckets=bounds, registry=theirs)
    for part in (values[:3], values[3:], []):
        batches.observe_all(np.array(part))
    for value in values:
        single.observe(value)
    assert generate_latest(ours) == generate_latest(theirs)
