"""What users have bought, beyond the newest events of their histories, and what of it they may buy again."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from indexing.arrays import filled, frozen
from indexing.histories import HistoryBatch, Int32s, Int64s

MOST = 200  # different items of one user, the latest; what a user's state remembers
LISTED = 60  # of them as candidates


def bought_before(
    rows: Int32s, purchases: npt.NDArray[np.bool_], begins: Int64s, ends: Int64s
) -> tuple[Int32s, Int64s]:
    """The different items of the purchases at `begins`..`ends` - 1 of a log by user, the latest last, at most MOST.

    `rows` and `purchases` (T,); `begins` and `ends` (B,). Returns rows (W,) and starts (B + 1,).
    """
    if not purchases.any():
        return np.zeros(0, np.int32), np.zeros(len(begins) + 1, np.int64)
    found, starts = np.empty(len(begins) * MOST, np.int32), np.zeros(len(begins) + 1, np.int64)
    _collect(rows, purchases, begins, ends, np.full(rows.max() + 1, -1, np.int64), found, starts)
    return found[: starts[-1]].copy(), starts


def to_buy_again(batch: HistoryBatch, again: npt.NDArray[np.bool_]) -> Int32s:
    """The newest LISTED of each user's purchases that are of items which are bought `again` (N,): (B, k), -1 behind."""
    width = min(int(np.diff(batch.owned_starts).max()), LISTED) if len(batch.owned) else 0
    result = filled((len(batch), width), -1, np.int32)
    if width:
        _list_again(frozen(batch.owned, np.int32), batch.owned_starts, frozen(again, np.bool_), result)
    return result


@njit(cache=True, nogil=True)
def _collect(rows: Any, purchases: Any, begins: Any, ends: Any, met: Any, found: Any, starts: Any) -> None:
    size = 0
    for query in range(begins.size):
        first, at = size, ends[query] - 1
        while at >= begins[query] and size - first < MOST:
            row = rows[at]
            if purchases[at] and row >= 0 and met[row] != query:
                met[row] = query
                found[size] = row
                size += 1
            at -= 1
        found[first:size] = found[first:size][::-1].copy()
        starts[query + 1] = size


@njit(cache=True, nogil=True)
def _list_again(owned: Any, starts: Any, again: Any, out: Any) -> None:
    for user in range(starts.size - 1):
        size, at = 0, starts[user + 1] - 1
        while at >= starts[user] and size < out.shape[1]:
            row = owned[at]
            if 0 <= row < again.size and again[row]:
                out[user, size] = row
                size += 1
            at -= 1
