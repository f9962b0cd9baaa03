"""The compiled loops of the sources that are asked for each list (numba, nogil); rules as in `indexing.kernels`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from indexing.kernels import EMPTY, _add, _last_distinct, _slot
from indexing.uncounted import uncounted

LOW = np.uint64(0xFFFFFFFF)
HIGH = np.uint64(32)
FEW = 16  # of so many the greatest are found by inserting


@uncounted
def _packed(keys: Any, bits: Any, used: Any, count: int, out: Any) -> None:
    """The keys and sums of a table's slots as one number each: the greater the sum the greater, of equal sums the
    smaller the key. `bits` are those of float32 sums of 0 and above, which grow as the sums do.
    """
    for at in range(count):
        slot = used[at]
        out[at] = (np.uint64(bits[slot]) << HIGH) | (LOW ^ np.uint64(keys[slot]))


@uncounted
def _key(packed: Any) -> Any:
    return np.int64(LOW ^ (packed & LOW))


@uncounted
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
            for at in range(count):
                numbers[at] = out[taken + at]
    missing = min(k - taken, count)
    if missing < count:
        _descending(numbers, count)
    for at in range(missing):
        out[taken + at] = numbers[at]
    return taken + missing


@uncounted
def _descending(numbers: Any, count: int) -> None:
    """Puts the first few of `numbers` in order, the greatest first, by inserting."""
    for at in range(1, count):
        place, number = at, numbers[at]
        while place > 0 and numbers[place - 1] < number:
            numbers[place] = numbers[place - 1]
            place -= 1
        numbers[place] = number


@uncounted
def _list(keys: Any, bits: Any, used: Any, count: int, packed: Any, best: Any, out_rows: Any, out_bits: Any) -> None:
    """Fills a list with the keys that have the greatest sums, best first."""
    _packed(keys, bits, used, count, packed)
    listed = _greatest(packed, count, out_rows.size, best)
    _descending(best, listed)
    for at in range(listed):
        number = best[at]
        out_rows[at] = _key(number)
        out_bits[at] = number >> HIGH


@njit(cache=True, nogil=True)
def session_neighbours(
    histories: tuple[Any, Any],
    sessions: tuple[Any, Any],
    of_items: tuple[Any, Any, Any, Any],
    last_weights: Any,
    distance_weights: Any,
    neighbours: int,
    table_size: int,
    out: tuple[Any, Any],
) -> None:
    """Items near the user's last items in the best matching sessions, rows and scores into `out`.

    `histories`: rows, starts; `sessions`: starts, items; `of_items`: starts, sessions, positions, weights. See
    `SessionNeighbours`.
    """
    session_table, item_table = _table(table_size), _table(table_size)
    matches, last = np.empty(table_size, np.int32), np.empty(last_weights.size, np.int64)
    places = (np.empty(neighbours, np.int64), np.empty(neighbours, np.int64), np.empty(neighbours, np.int64))
    first_items = np.empty(neighbours, np.int32)
    packed, best = np.empty(table_size, np.uint64), np.empty(table_size, np.uint64)
    room = (session_table, item_table, matches, last, places, first_items, packed, best)
    out_rows, out_scores = out
    lists = (out_rows, out_scores.view(np.uint32))
    _session_neighbours(histories, sessions, of_items, last_weights, distance_weights, neighbours, room, lists)


@njit(cache=True, nogil=True)
def _table(size: int) -> Any:
    """An empty table: keys, their sums and the bits of these, which slots are used."""
    sums = np.empty(size, np.float32)
    return np.full(size, EMPTY, np.int32), sums, sums.view(np.uint32), np.empty(size, np.int32)


@uncounted
def _session_neighbours(
    histories: Any,
    sessions: Any,
    of_items: Any,
    last_weights: Any,
    distance_weights: Any,
    neighbours: int,
    room: Any,
    lists: Any,
) -> None:
    rows, starts = histories
    session_starts, session_items = sessions
    item_starts, item_sessions, item_positions, item_weights = of_items
    session_table, item_table, matches, last, places, first_items, packed, best = room
    session_keys, session_sums, session_bits, session_used = session_table
    item_keys, item_sums, item_bits, item_used = item_table
    begins, ends, slots = places
    out_rows, out_bits = lists
    window = distance_weights.size // 2
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
    histories: tuple[Any, Any],
    neighbours: tuple[Any, Any, Any],
    last_weights: Any,
    table_size: int,
    out: tuple[Any, Any],
) -> None:
    """The neighbours of the user's last items, summed with the weight of each, rows and scores into `out`.

    `histories`: rows, starts; `neighbours`: starts, rows, scores. See `Neighbours`.
    """
    table, last = _table(table_size), np.empty(last_weights.size, np.int64)
    packed, best = np.empty(table_size, np.uint64), np.empty(table_size, np.uint64)
    out_rows, out_scores = out
    _covisited(histories, neighbours, last_weights, table, last, packed, best, out_rows, out_scores.view(np.uint32))


@uncounted
def _covisited(
    histories: Any,
    neighbours: Any,
    last_weights: Any,
    table: Any,
    last: Any,
    packed: Any,
    best: Any,
    out_rows: Any,
    out_bits: Any,
) -> None:
    rows, starts = histories
    item_starts, others, scores = neighbours
    keys, sums, bits, used = table
    for user in range(starts.size - 1):
        found = 0
        asked = _last_distinct(rows, starts[user], starts[user + 1], item_starts.size - 1, last.size, last)
        for rank in range(asked):
            for at in range(item_starts[last[rank]], item_starts[last[rank] + 1]):
                found = _add(keys, sums, used, found, others[at], last_weights[rank] * scores[at])
        _list(keys, bits, used, found, packed, best, out_rows[user], out_bits[user])
        for at in range(found):
            keys[used[at]] = EMPTY
