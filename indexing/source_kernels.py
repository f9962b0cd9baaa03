"""The compiled loops of the sources that are asked for each list (numba, nogil); rules as in `indexing.kernels`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from indexing.kernels import EMPTY, _add, _last_distinct, _slot

LOW = np.uint64(0xFFFFFFFF)
HIGH = np.uint64(32)
FEW = 16  # of so many the greatest are found by inserting


@njit(cache=True, nogil=True)
def _packed(keys: Any, bits: Any, used: Any, count: int, out: Any) -> None:
    """The keys and sums of a table's slots as one number each: the greater the sum the greater, of equal sums the
    smaller the key. `bits` are those of float32 sums of 0 and above, which grow as the sums do.
    """
    for at in range(count):
        slot = used[at]
        out[at] = (np.uint64(bits[slot]) << HIGH) | (LOW ^ np.uint64(keys[slot]))


@njit(cache=True, nogil=True)
def _key(packed: Any) -> Any:
    return np.int64(LOW ^ (packed & LOW))


@njit(cache=True, nogil=True)
def _greatest(numbers: Any, count: int, k: int, out: Any) -> int:
    """Moves the k greatest of `numbers[:count]`, all different, into `out`, in no order; returns how many there are.

    A quickselect whose loop does not branch: each number is written to both sides, and one side then counts it.
    """
    taken = 0
    while count > FEW and count > k - taken > 0:
        first, middle, last = numbers[0], numbers[count // 2], numbers[count - 1]
        pivot = max(min(first, middle), min(max(first, middle), last))
        won, lost = taken, 0
        for at in range(count):
            number = numbers[at]
            out[won] = number
            numbers[lost] = number
            won += number >= pivot
            lost += number < pivot
        if won <= k:
            taken, count = won, lost
        else:
            count = won - taken
            numbers[:count] = out[taken:won]
    missing = min(k - taken, count)
    for at in range(count if missing < count else 0):
        place, number = at, numbers[at]
        while place > 0 and numbers[place - 1] < number:
            numbers[place] = numbers[place - 1]
            place -= 1
        numbers[place] = number
    out[taken : taken + missing] = numbers[:missing]
    return taken + missing


@njit(cache=True, nogil=True)
def _list(keys: Any, bits: Any, used: Any, count: int, packed: Any, best: Any, out_rows: Any, out_bits: Any) -> None:
    """Fills a list with the keys that have the greatest sums, best first."""
    _packed(keys, bits, used, count, packed)
    listed = _greatest(packed, count, out_rows.size, best)
    best[:listed].sort()
    for at in range(listed):
        number = best[listed - 1 - at]
        out_rows[at] = _key(number)
        out_bits[at] = number >> HIGH


@njit(cache=True, nogil=True)
def session_neighbours(
    rows: Any,
    starts: Any,
    session_starts: Any,
    session_items: Any,
    item_starts: Any,
    item_sessions: Any,
    item_positions: Any,
    item_weights: Any,
    last_weights: Any,
    distance_weights: Any,
    neighbours: int,
    table_size: int,
    out_rows: Any,
    out_scores: Any,
) -> None:
    """Items near the user's last items in the best matching sessions; see `SessionNeighbours`."""
    window, out_bits = distance_weights.size // 2, out_scores.view(np.uint32)
    session_keys, item_keys = np.full(table_size, EMPTY, np.int32), np.full(table_size, EMPTY, np.int32)
    session_sums, item_sums = np.empty(table_size, np.float32), np.empty(table_size, np.float32)
    session_bits, item_bits = session_sums.view(np.uint32), item_sums.view(np.uint32)
    session_used, item_used = np.empty(table_size, np.int32), np.empty(table_size, np.int32)
    packed, best = np.empty(table_size, np.uint64), np.empty(table_size, np.uint64)
    matches, last = np.empty(table_size, np.int32), np.empty(last_weights.size, np.int64)
    begins, ends = np.empty(neighbours, np.int64), np.empty(neighbours, np.int64)
    slots, first_items = np.empty(neighbours, np.int64), np.empty(neighbours, np.int32)
    for user in range(starts.size - 1):
        count, found = 0, 0
        asked = _last_distinct(rows, starts[user], starts[user + 1], item_starts.size - 1, last.size, last)
        for rank in range(asked):
            for at in range(item_starts[last[rank]], item_starts[last[rank] + 1]):
                session, before = item_sessions[at], count
                weight = last_weights[rank] * item_weights[at]
                count = _add(session_keys, session_sums, session_used, count, session, weight)
                if count > before:  # the newest common item is the place to look around
                    matches[session_used[before]] = item_positions[at]
        _packed(session_keys, session_bits, session_used, count, packed)
        chosen = _greatest(packed, count, neighbours, best)
        for at in range(chosen):  # on its own, so that the memory is waited for but once
            session = _key(best[at])
            begins[at], ends[at] = session_starts[session], session_starts[session + 1]
            slots[at] = _slot(session_keys, session)
            first_items[at] = session_items[begins[at]]  # fetches those around it, too
        for at in range(chosen):
            start, end, slot = begins[at], ends[at], slots[at]
            middle = start + matches[slot]
            for near in range(max(start, middle - window), min(end, middle + window + 1)):
                weight = session_sums[slot] * distance_weights[near - middle + window]
                if weight > 0.0:
                    found = _add(item_keys, item_sums, item_used, found, session_items[near], weight)
        _list(item_keys, item_bits, item_used, found, packed, best, out_rows[user], out_bits[user])
        for at in range(count):
            session_keys[session_used[at]] = EMPTY
        for at in range(found):
            item_keys[item_used[at]] = EMPTY


@njit(cache=True, nogil=True)
def covisited(
    rows: Any,
    starts: Any,
    item_starts: Any,
    neighbours: Any,
    scores: Any,
    last_weights: Any,
    table_size: int,
    out_rows: Any,
    out_scores: Any,
) -> None:
    """The neighbours of the user's last items, summed with the weight of each; see `Neighbours`."""
    out_bits = out_scores.view(np.uint32)
    keys, sums, used = (
        np.full(table_size, EMPTY, np.int32),
        np.empty(table_size, np.float32),
        np.empty(table_size, np.int32),
    )
    packed, best, bits = np.empty(table_size, np.uint64), np.empty(table_size, np.uint64), sums.view(np.uint32)
    last = np.empty(last_weights.size, np.int64)
    for user in range(starts.size - 1):
        found = 0
        asked = _last_distinct(rows, starts[user], starts[user + 1], item_starts.size - 1, last.size, last)
        for rank in range(asked):
            for at in range(item_starts[last[rank]], item_starts[last[rank] + 1]):
                found = _add(keys, sums, used, found, neighbours[at], last_weights[rank] * scores[at])
        _list(keys, bits, used, found, packed, best, out_rows[user], out_bits[user])
        for at in range(found):
            keys[used[at]] = EMPTY
