"""The compiled loop that joins all sources into candidates (numba); `indexing.candidates` explains the features."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from indexing.columns import (
    AGREEMENT,
    ANN,
    FIRST_MEMORY,
    HOUR_MS,
    NEGATIVE,
    NEW,
    RECENT,
    SCORE_COLUMNS,
    STRENGTH_SCALE,
    TRENDING,
)
from indexing.describing import (
    SIDES,
    compared_with,
    describe_history,
    describe_items,
    describe_list,
    describe_owned,
    describe_together,
    log1p,
)
from indexing.kernels import EMPTY, _slot
from indexing.uncounted import uncounted

NO_SCORE = -1  # in place of a column


@uncounted
def _join_list(
    listed: Any,
    scores: Any,
    bit: int,
    column: int,
    common: int,
    available: Any,
    table: tuple[Any, Any, Any],
    start: int,
    end: int,
    out: tuple[Any, Any, Any],
) -> int:
    """Joins one source's list to the candidates `start`..`end` - 1; returns where they now end.

    `table`: keys, places and which slots are used; `column`: the first of the source's scores, or NO_SCORE.
    """
    keys, places, used = table
    rows, sources, features = out
    for rank in range(listed.size):
        row = listed[rank]
        if row < 0 or not available[row]:
            continue
        slot = _slot(keys, row)
        if keys[slot] == EMPTY:
            keys[slot], places[slot], used[end - start] = row, end, slot
            rows[end], sources[end] = row, 0
            for feature in range(features.shape[1]):
                features[end, feature] = np.float32(0.0)
            end += 1
        place = places[slot]
        sources[place] |= bit
        if column != NO_SCORE:
            features[place, column] = scores[rank] / max(scores[0], np.float32(1e-9))
            features[place, column + 1] = 1.0 / (1.0 + rank)
            features[place, column + 2] = log1p(STRENGTH_SCALE * max(scores[rank], np.float32(0.0)))
            features[place, common + AGREEMENT] += 1.0
    return end


@njit(cache=True, nogil=True)
def join(
    histories: tuple[Any, Any, Any, Any, Any, Any, Any, Any],
    kinds: Any,
    users: Any,
    found: tuple[Any, Any],
    new_and_again: tuple[Any, Any],
    trending: Any,
    recents: int,
    available: Any,
    vectors: Any,
    facts: tuple[Any, Any, Any, int],
    together: tuple[Any, Any, Any],
    out: tuple[Any, Any, Any, Any],
) -> None:
    """Candidates of all lists, each item once a list: the memories', those by vectors (the last of `found`), new ones,
    the user's own recent items, trending ones, and what the user has bought and may buy again.
    """
    rows, _, _, _ = out
    lists, size = users.shape[0], 64
    while size < 2 * rows.size // max(lists, 1):
        size *= 2
    table = (np.full(size, EMPTY, np.int32), np.empty(size, np.int64), np.empty(size, np.int64))
    room = (table, np.zeros(recents, np.int32), np.zeros((SIDES, users.shape[1]), np.float32), np.zeros(1, np.float32))
    _join(histories, kinds, users, found, new_and_again, trending, available, vectors, facts, together, room, out)


@uncounted
def _join(
    histories: Any,
    kinds: Any,
    users: Any,
    found: Any,
    new_and_again: Any,
    trending: Any,
    available: Any,
    vectors: Any,
    facts: Any,
    together: Any,
    room: Any,
    out: Any,
) -> None:
    history_rows, types, times, history_starts, now, intents, owned, owned_starts = histories
    new, again = new_and_again
    found_rows, found_scores = found
    rows, starts, sources, features = out
    item_table, wanted, rarities, as_of = facts
    memories, common = found_rows.shape[0] - 1, SCORE_COLUMNS * found_rows.shape[0]
    table, recent, sides, nothing = room
    keys, places, used = table
    joined, end = (rows, sources, features), np.int64(0)
    for user in range(history_starts.size - 1):
        start, first, last = end, history_starts[user], history_starts[user + 1]
        history, kinds_of_events = history_rows[first:last], types[first:last]
        own = recent[: _recent_items(history, kinds_of_events, kinds, recent)]
        for source in range(memories + 5):
            listed, scores, bit, column = new[user], nothing, NEW, NO_SCORE
            if source <= memories:
                listed, scores, column = found_rows[source, user], found_scores[source, user], SCORE_COLUMNS * source
                bit = FIRST_MEMORY << source if source < memories else ANN
            elif source == memories + 2:
                listed, bit = own, RECENT
            elif source == memories + 3:
                listed, bit = trending, TRENDING
            elif source == memories + 4:
                listed, bit = again[user], RECENT
            end = _join_list(listed, scores, bit, column, common, available, table, start, end, joined)
        length = describe_history(
            history, kinds_of_events, times[first:last], now[user], kinds, keys, places, common, features
        )
        bought = owned[owned_starts[user] : owned_starts[user + 1]]
        describe_owned(bought, common, features, keys, places)
        describe_together(own, together, keys, places, common, features)
        described = features[start:end, common:]
        describe_list(times[first:last], length, own.size, bought.size, rarities[intents[user]], described)
        compared_with(users[user], history[-1] if last > first else EMPTY, own, vectors, sides)
        elapsed, second = (now[user] - as_of) / HOUR_MS, own[1] if own.size > 1 else EMPTY
        describe_items(rows[start:end], described, second, elapsed, sides, vectors, item_table, wanted[intents[user]])
        for at in range(end - start):
            keys[used[at]] = EMPTY
        starts[user + 1] = end


@uncounted
def _recent_items(history: Any, types: Any, kinds: Any, out: Any) -> int:
    """The user's latest different items, newest first, without those whose latest interaction was a rejection."""
    size = 0
    for at in range(len(history) - 1, -1, -1):
        row = history[at]
        known = row < 0
        for later in range(at + 1, len(history)):
            known = known or history[later] == row
        if not known and kinds[types[at]] != NEGATIVE:
            out[size] = row
            size += 1
            if size == len(out):
                break
    return size
