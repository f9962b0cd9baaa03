"""Logs and plans of a size that can be counted by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream.evaluation.event_log import EventLog
from stream.evaluation.plan import Plan
from stream.settings import ModelSettings, Settings

TYPES = Settings().event_types()
SMALL = ModelSettings(dimensions=16, length=10, inner=16, token_buckets=64, negatives=32, batch_events=256)
MINUTE = 60_000


def log_of(events: Sequence[tuple[str, str, int]], kinds: Sequence[str] | None = None) -> EventLog:
    """A log of (user, item, period), one event a minute; a user is a session."""
    users = list(dict.fromkeys(user for user, _, _ in events))
    items = list(dict.fromkeys(item for _, item, _ in events))
    return EventLog(
        users,
        items,
        np.array([users.index(user) for user, _, _ in events]),
        np.array([items.index(item) for _, item, _ in events]),
        np.array([TYPES.code(kind) for kind in kinds or ["click"] * len(events)]),
        np.arange(len(events)) * MINUTE,
        np.array([period for _, _, period in events]),
        None,
    )


def plan(  # noqa: PLR0917  # short calls
    model: str,
    against: Sequence[str] = (),
    cutoffs: Sequence[int] = (2, 20),
    sample: float = 1.0,
    settings: ModelSettings = SMALL,
    hide_items: float = 0.0,
) -> Plan:
    return Plan(
        model=model,
        against=against,
        cutoffs=cutoffs,
        sample=sample,
        seed=1,
        event_types=TYPES,
        settings=settings,
        window_events=1_000_000,
        clock=lambda: 0.0,
        hide_items=hide_items,
    )
