"""Time between events, in buckets that both sides of the encoder know."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

GAP_BUCKETS = 24  # powers of two of a second: one second to 97 days
FIRST = GAP_BUCKETS  # the gap bucket of an event that has none before it


def gap_buckets(milliseconds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bucket of a time span: floor(log2(1 + seconds)), 0..GAP_BUCKETS-1; spans below zero count as zero.

    >>> gap_buckets(np.array([-5, 0, 1_000, 60_000, 10**15])).tolist()
    [0, 0, 1, 5, 23]
    """
    seconds = np.maximum(milliseconds, 0) // 1_000
    return np.minimum(np.floor(np.log2(1.0 + seconds)).astype(np.int64), GAP_BUCKETS - 1)


def gaps_before(times: npt.NDArray[np.int64], firsts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bucket of the time since the event before, in flat histories that begin at `firsts`; FIRST there."""
    buckets = np.empty(len(times), np.int64)
    buckets[1:] = gap_buckets(np.diff(times))
    buckets[firsts] = FIRST
    return buckets
