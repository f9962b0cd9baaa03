"""The compiled inner loops of retrieval (numba, nogil): flat arrays in, flat arrays out, no state between calls.

Kernels stand together with their helpers because numba's on-disk cache watches only the file of the function itself.
Sums run in the order of the lists, whatever the size of the batch, so a list does not depend on the batch it is made
in. Equal scores are ordered by the smaller key.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from indexing.uncounted import uncounted

EMPTY = -1


@uncounted
def _slot(keys: Any, key: int) -> int:
    """Where `key` is or belongs in an open-addressing table whose size is a power of two and which is never full."""
    mask = keys.size - 1
    slot = ((np.int64(key) * 2654435761) >> 12) & mask
    while keys[slot] != key and keys[slot] != EMPTY:
        slot = (slot + 1) & mask
    return slot  # type: ignore[no-any-return]


@uncounted
def _add(keys: Any, sums: Any, used: Any, size: int, key: int, x: float) -> int:
    """Adds x to the sum of `key`; returns the number of keys in the table, whose slots are listed in `used`."""
    slot = _slot(keys, key)
    if keys[slot] == EMPTY:
        keys[slot] = key
        sums[slot] = 0.0
        used[size] = slot
        size += 1
    sums[slot] += x
    return size


@uncounted
def _worse(score: float, key: int, other_score: float, other_key: int) -> bool:
    return score < other_score or (score == other_score and key > other_key)


@uncounted
def _sink(heap: Any, size: int, keys: Any, scores: Any) -> None:
    """Restores a heap of positions, worst on top, after its top has changed."""
    parent = 0
    while True:
        child = 2 * parent + 1
        if child >= size:
            return
        right = child + 1
        if right < size and _worse(scores[heap[right]], keys[heap[right]], scores[heap[child]], keys[heap[child]]):
            child = right
        if not _worse(scores[heap[child]], keys[heap[child]], scores[heap[parent]], keys[heap[parent]]):
            return
        heap[parent], heap[child] = heap[child], heap[parent]
        parent = child


@uncounted
def _rise(heap: Any, child: int, keys: Any, scores: Any) -> None:
    """Restores a heap of positions, worst on top, after one was put at its end."""
    while child > 0:
        parent = (child - 1) // 2
        if not _worse(scores[heap[child]], keys[heap[child]], scores[heap[parent]], keys[heap[parent]]):
            return
        heap[parent], heap[child] = heap[child], heap[parent]
        child = parent


@uncounted
def _best(keys: Any, scores: Any, positions: Any, count: int, heap: Any, k: int) -> int:
    """Puts into `heap` the k best of `positions[:count]`, best first; returns how many there are."""
    size = 0
    for at in range(count):
        position = positions[at]
        if scores[position] == -np.inf:
            continue
        if size < k:
            heap[size] = position
            _rise(heap, size, keys, scores)
            size += 1
        elif k > 0 and _worse(scores[heap[0]], keys[heap[0]], scores[position], keys[position]):
            heap[0] = position
            _sink(heap, size, keys, scores)
    for end in range(size - 1, 0, -1):
        heap[0], heap[end] = heap[end], heap[0]
        _sink(heap, end, keys, scores)
    return size


@uncounted
def _last_distinct(rows: Any, start: int, end: int, limit: int, most: int, out: Any) -> int:
    """The last `most` different items of rows[start:end], newest first, of those that are 0..limit-1."""
    size = 0
    for at in range(end - 1, start - 1, -1):
        row = rows[at]
        if row < 0 or row >= limit:
            continue
        seen = False
        for earlier in range(size):
            seen = seen or out[earlier] == row
        if not seen:
            out[size] = row
            size += 1
            if size == most:
                break
    return size


@njit(cache=True, nogil=True)
def count_neighbours(
    session_starts: Any,
    session_items: Any,
    session_weights: Any,
    entry_sessions: Any,
    entries: Any,
    entry_starts: Any,
    distance_weights: Any,
    most: int,
    out_counts: Any,
    out_rows: Any,
    out_scores: Any,
) -> None:
    """For each item the `most` items with the greatest sum of weights over all places where they stand near each other.

    `entries[entry_starts[i]:entry_starts[i + 1]]` are the places of item i in `session_items`.
    """
    item_count, window = entry_starts.size - 1, distance_weights.size // 2
    sums, touched = np.zeros(item_count, np.float32), np.zeros(item_count, np.int64)
    names, best = np.arange(item_count), np.zeros(most, np.int64)
    for item in range(item_count):
        found = 0
        for at in range(entry_starts[item], entry_starts[item + 1]):
            place = entries[at]
            session = entry_sessions[place]
            start, end = session_starts[session], session_starts[session + 1]
            for near in range(max(start, place - window), min(end, place + window + 1)):
                other = session_items[near]
                weight = session_weights[session] * distance_weights[near - place + window]
                if weight <= 0.0:
                    continue
                if sums[other] == 0.0:
                    touched[found] = other
                    found += 1
                sums[other] += weight
        out_counts[item] = _best(names, sums, touched, found, best, most)
        for at in range(out_counts[item]):
            out_rows[item, at] = best[at]
            out_scores[item, at] = sums[best[at]]
        for at in range(found):
            sums[touched[at]] = 0.0


@njit(cache=True, nogil=True, fastmath=True, _nrt=False)
def _dot(a: Any, b: Any) -> Any:
    total = np.float32(0.0)
    for at in range(a.size):
        total += a[at] * b[at]
    return total


@njit(cache=True, nogil=True)
def nearest(users: Any, vectors: Any, rows: Any, available: Any, keys: Any, out_rows: Any, out_scores: Any) -> None:
    """Those of `rows` with the greatest inner product above 0, by scanning them all."""
    scores, names, near = np.zeros(rows.size, np.float32), keys[rows], np.zeros(rows.size, np.int64)
    best = np.zeros(out_rows.shape[1], np.int64)
    _nearest(users, vectors, rows, available, scores, names, near, best, out_rows, out_scores)


@uncounted
def _nearest(
    users: Any,
    vectors: Any,
    rows: Any,
    available: Any,
    scores: Any,
    names: Any,
    near: Any,
    best: Any,
    out_rows: Any,
    out_scores: Any,
) -> None:
    for user in range(users.shape[0]):
        size = 0
        for at in range(rows.size):
            if available[rows[at]]:
                scores[at] = _dot(users[user], vectors[rows[at]])
                if scores[at] > 0.0:
                    near[size] = at
                    size += 1
        listed = _best(names, scores, near, size, best, best.size)
        for at in range(listed):
            out_rows[user, at] = rows[best[at]]
            out_scores[user, at] = scores[best[at]]


@uncounted
def settle(found: Any, scores: Any, out_rows: Any) -> None:
    """Lists (B, k), best first, as they shall be: equal scores in the order of their rows, -1 and 0 behind the last.

    `found` (B, k) rows, below 0 where there is none; `scores` change in place.
    """
    for user in range(found.shape[0]):
        for at in range(found.shape[1]):
            row, place = found[user, at], at
            if row < 0:
                out_rows[user, at], scores[user, at] = -1, 0.0
                continue
            while place > 0 and scores[user, place - 1] == scores[user, at] and out_rows[user, place - 1] > row:
                out_rows[user, place] = out_rows[user, place - 1]
                place -= 1
            out_rows[user, place] = row
