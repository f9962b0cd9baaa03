"""Which values settings may have, beyond their types."""

from __future__ import annotations

import math
from typing import Any

from stream.wire.times import to_milliseconds

PORTS = (0, 65_535)
RANGES: dict[str, tuple[float, float]] = {
    "kafka.partitions": (1, 10_000),
    "kafka.replication_factor": (1, 1_000),
    "events.max_bytes": (64, 8 << 20),
    "events.max_id_bytes": (1, 65_536),
    "events.max_ahead_seconds": (0, 1e10),
    "worker.http_port": PORTS,
    "worker.session_timeout_seconds": (1, 1_800),  # what brokers grant: group.min/max.session.timeout.ms
    "worker.startup_seconds": (1, math.inf),
    "worker.scored_users": (0, 1),
    "worker.scored_bursts": (0, 1),
    "recommend.count": (1, 200),
    "recommend.new_slots": (0, 10),
    "trainer.refresh_seconds": (0.001, math.inf),
    "trainer.http_port": PORTS,
    "trainer.session_timeout_seconds": (1, 1_800),
    "trainer.window_events": (1, math.inf),
    "trainer.min_events": (1, math.inf),
    "trainer.threads": (1, 4_096),
    "trainer.niceness": (0, 19),
    "model.learning_rate": (0, 10),
    "model.row_learning_rate": (0, 10),
    "model.ranker_learning_rate": (0, 10),
    "model.short_refresh": (0, 1),
    "model.short_rate": (0, 10),
    "artifacts.keep": (1, math.inf),
    "broker.port": PORTS,
}


def problem_with(settings: Any) -> str | None:  # noqa: ANN401  (any structs of that form)
    """What is wrong with the first value that may not be, None if nothing is."""
    for name, (least, most) in RANGES.items():
        section, _, key = name.partition(".")
        value = getattr(getattr(settings, section), key)
        if not least <= value <= most:
            bounds = f"at least {least:g}" if most == math.inf else f"between {least:g} and {most:g}"
            return f"{name} must be {bounds}, is {value:g}"
    for name in ("earliest", "latest"):
        text = getattr(settings.events, name)
        if to_milliseconds(text) is None:
            return f"events.{name} = {text!r} is no ISO 8601 time"
    return None
