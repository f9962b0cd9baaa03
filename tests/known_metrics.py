"""What the metrics are called and labelled, from their one place: tests hold rules, dashboards and docs to it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from prometheus_client import ProcessCollector
from prometheus_client.metrics import Counter, Histogram, MetricWrapperBase

from stream.metrics import PREFIX, Total, TrainerMetrics, WorkerMetrics

SCRAPED = {"job", "instance"}  # labels that Prometheus adds
NAME = re.compile(rf"\b{PREFIX}[a-z0-9_]+\b")
MATCHERS = re.compile(rf"\b({PREFIX}[a-z0-9_]+)\{{([^}}]*)\}}")


def families() -> dict[str, set[str]]:
    """Each metric's name as the contract writes it (counters with `_total`) and its labels."""
    found = {PREFIX + "ready": set[str]()}
    for metrics in (WorkerMetrics(), TrainerMetrics()):
        for metric in vars(metrics).values():
            if isinstance(metric, MetricWrapperBase):
                name = metric._name + ("_total" if isinstance(metric, Counter) else "")
                found[name] = set(metric._labelnames)
            elif isinstance(metric, Total):
                found[metric.name] = set(metric.labels)
            elif isinstance(metric, ProcessCollector):
                for family in metric.collect():
                    found[family.name + ("_total" if family.type == "counter" else "")] = set()
    return found


def series() -> dict[str, set[str]]:
    """Each name that can be queried and its labels: histograms have three."""
    totals = {metric.name for metric in vars(WorkerMetrics()).values() if isinstance(metric, Total)}
    histograms = {
        metric._name
        for metrics in (WorkerMetrics(), TrainerMetrics())
        for metric in vars(metrics).values()
        if isinstance(metric, Histogram)
    }
    found: dict[str, set[str]] = {}
    for name, labels in families().items():
        if name in histograms:
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        elif name in totals:
            found |= {f"{name}_sum": labels, f"{name}_count": labels}
        else:
            found[name] = labels
    return found


def problems(expression: str) -> Iterator[str]:
    """Metrics and labels in a PromQL expression that do not exist."""
    known = series()
    yield from (f"no metric {name} in: {expression}" for name in NAME.findall(expression) if name not in known)
    for name, matchers in MATCHERS.findall(expression):
        for label in re.findall(r"([a-z_]+)\s*[=!]", matchers):
            if label not in known.get(name, set()) | SCRAPED:
                yield f"{name} has no label {label} in: {expression}"
    everywhere = SCRAPED.union(*known.values())
    for labels in re.findall(r"\b(?:by|on|without) \(([^)]*)\)", expression):
        for label in filter(None, re.split(r",\s*", labels)):
            if label not in everywhere:
                yield f"no metric has the label {label} in: {expression}"
