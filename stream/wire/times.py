"""Timestamps: ISO 8601 or epoch milliseconds on the wire, epoch milliseconds inside."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
LAST_MOMENT = 253_402_300_799_999  # epoch ms, of the year 9999: no later one can be written
BASIC_DATE = len("20261123")
# Epochs in files are told apart by size: seconds end in the year 5138, milliseconds begin in 1973, and so on.
EPOCH_UNITS = ((1e11, 1000.0), (1e14, 1.0), (1e17, 1e-3), (math.inf, 1e-6))
_SECONDS, _THOUSANDTHS = [f"{second:02}." for second in range(60)], [f"{rest:03}Z" for rest in range(1000)]


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


def read_time(text: str) -> int | None:
    """Epoch milliseconds of a time as files have it: an epoch in s, ms, us or ns, ISO 8601, or `12/31/2010 8:26` (US).

    >>> read_time("1396437466.94"), read_time("4/2/2014 11:17"), read_time("soon")
    (1396437466940, 1396437420000, None)
    """
    try:
        epoch = float(text)
    except ValueError:
        return to_milliseconds(_iso(text))
    if not math.isfinite(epoch):
        return None
    return round(epoch * next(factor for limit, factor in EPOCH_UNITS if abs(epoch) < limit))


def to_iso(milliseconds: int) -> str:
    """`2026-11-23T16:04:00.000Z` for epoch milliseconds between the years 1 and 9999."""
    minute, rest = divmod(milliseconds, 60_000)
    return f"{_minute(minute)}{_SECONDS[rest // 1000]}{_THOUSANDTHS[rest % 1000]}"


@lru_cache(maxsize=16_384)
def _minute(minute: int) -> str:
    """Lists are about few minutes, which is most of the text."""
    day, minute = divmod(minute, 1440)
    return f"{(EPOCH + timedelta(days=day)).date().isoformat()}T{minute // 60:02}:{minute % 60:02}:"


def _iso(text: str) -> str:
    american = re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})(?: (\d{1,2}):(\d\d)(?::(\d\d))?)?", text)
    if american is None:
        return text
    month, day, year, hour, minute, second = (part or "0" for part in american.groups())
    return f"{year}-{month:0>2}-{day:0>2}T{hour:0>2}:{minute:0>2}:{second:0>2}"
