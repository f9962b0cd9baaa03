"""Timestamps: ISO 8601 or epoch milliseconds on the wire, epoch milliseconds inside."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
BASIC_DATE = len("20261123")


def to_milliseconds(timestamp: str | float) -> int | None:
    """Epoch milliseconds of an ISO 8601 text (UTC when it names no zone) or of a number; None when it is neither.

    >>> to_milliseconds("2026-11-23T16:04:00Z"), to_milliseconds(1_795_449_840_000.0), to_milliseconds("noon")
    (1795449840000, 1795449840000, None)
    """
    if isinstance(timestamp, int):  # however large: the range is the caller's to judge
        return timestamp
    if isinstance(timestamp, str):
        if timestamp.isdigit() and len(timestamp) != BASIC_DATE:
            return None  # `fromisoformat` takes any separator, a digit too
        try:
            moment = datetime.fromisoformat(timestamp)
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return (moment - EPOCH) // MILLISECOND
    return int(timestamp) if math.isfinite(timestamp) else None


def to_iso(milliseconds: int) -> str:
    """`2026-11-23T16:04:00.000Z` for epoch milliseconds between the years 1 and 9999."""
    moment = EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
