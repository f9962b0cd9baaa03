"""The compiled loop that joins all sources into candidates (numba); `indexing.candidates` explains the features."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from indexing.kernels import EMPTY, _dot, _slot

ANN, RECENT, TRENDING, NEW, FIRST_MEMORY = 1, 2, 4, 8, 16  # bits of `sources`; the next memory has the next bit
POSITIVE, PURCHASE, NEGATIVE = 0, 1, 2  # kinds of event types
SESSION_GAP_MS = 1_800_000
SECOND_MS, HOUR_MS, DAY_MS = 1_000.0, 3_600_000.0, 86_400_000.0

# Columns behind those of the sources with scores, as in `indexing.candidates.COMMON_FEATURES`.
# fmt: off
(AGREEMENT, SIMILARITY, SIMILARITY_LAST, POPULARITY_HOUR, POPULARITY_DAY, POPULARITY_WEEK, COUNT, IS_LAST, IN_SESSION,
 TIMES_IN_HISTORY, HISTORY_RECENCY, HOURS_SINCE, PURCHASED, REJECTED, AGE, COLD, WANTED_POPULARITY, WANTED_RATE,
 HISTORY_LENGTH, SESSION_LENGTH, WANTED_RARITY, TOGETHER, TOGETHER_SECOND, TOGETHER_THIRD,
 TOGETHER_WITH, SIMILARITY_SECOND, SIMILARITY_THIRD, SIMILARITY_MEAN, IS_SECOND, DISTINCT, PAUSE, BEGINS, ENDS, AGAIN,
 UNSEEN_FOR, OWNED, OWNED_PLACE, OWNED_ITEMS) = range(38)
# fmt: on
SCORE_COLUMNS, NO_SCORE = 3, -1  # of each source
COMPARED = 3  # the user's newest different items, with each of which every candidate is compared
COUNTED = 8  # of which it is counted with how many a candidate is visited
STRENGTH_SCALE = 1_000.0  # scores are read as log(1 + scale * score): most are far below one


@njit(cache=True, nogil=True)
def _candidate(keys: Any, places: Any, used: Any, row: int, start: int, end: int, rows: Any, features: Any) -> Any:
    """The place of a row among the candidates of the list that began at `start`, made at `end` when it is new."""
    slot = _slot(keys, row)
    if keys[slot] == EMPTY:
        keys[slot] = row
        places[slot] = end
        used[end - start] = slot
        rows[end] = row
        features[end] = 0.0
        return end, end + 1
    return places[slot], end


@njit(cache=True, nogil=True)
def _join_list(
    listed: Any,
    scores: Any,
    bit: int,
    column: int,
    common: int,
    available: Any,
    keys: Any,
    places: Any,
    used: Any,
    start: int,
    end: int,
    rows: Any,
    sources: Any,
    features: Any,
) -> int:
    """Joins one source's list; `column` is the first of its score's, or NO_SCORE."""
    for rank in range(listed.size):
        row = listed[rank]
        if row < 0 or not available[row]:
            continue
        place, after = _candidate(keys, places, used, row, start, end, rows, features)
        if after > end:
            sources[place] = 0
            end = after
        sources[place] |= bit
        if column != NO_SCORE:
            features[place, column] = scores[rank] / max(scores[0], np.float32(1e-9))
            features[place, column + 1] = 1.0 / (1.0 + rank)
            features[place, column + 2] = np.log1p(STRENGTH_SCALE * max(scores[rank], np.float32(0.0)))
            features[place, common + AGREEMENT] += 1.0
    return end


@njit(cache=True, nogil=True)
def _describe_history(
    history: Any, types: Any, times: Any, now: int, kinds: Any, keys: Any, places: Any, common: int, features: Any
) -> int:
    """Fills what the history says of each candidate, newest first; returns the length of the current session."""
    in_session, session_length = True, 0
    last = len(history) - 1
    for at in range(last, -1, -1):
        if at < last and times[at + 1] - times[at] > SESSION_GAP_MS:
            in_session = False
        session_length += in_session
        row = history[at]
        slot = _slot(keys, row) if row >= 0 else 0
        if row < 0 or keys[slot] != row:
            continue
        seen = features[places[slot], common:]
        if seen[TIMES_IN_HISTORY] == 0.0:
            seen[IS_LAST] = at == last
            seen[IN_SESSION] = in_session
            seen[HISTORY_RECENCY] = 1.0 / (1.0 + last - at)
            seen[HOURS_SINCE] = np.log1p(max(now - times[at], 0) / HOUR_MS)
            seen[REJECTED] = kinds[types[at]] == NEGATIVE
        seen[TIMES_IN_HISTORY] += 1.0
        if kinds[types[at]] == PURCHASE:
            seen[PURCHASED] = 1.0
    return session_length


@njit(cache=True, nogil=True)
def _describe_items(
    start: int,
    end: int,
    rows: Any,
    common: int,
    features: Any,
    user: Any,
    last_row: int,
    now: int,
    intent: int,
    facts: tuple[Any, Any, Any, Any, Any, Any, Any],
) -> None:
    """Fills what the item and its vector say of each candidate. Rows past `counts` are newer than the artifact."""
    vectors, popularity, counts, first_seen, wanted, rates, _rarities = facts
    for place in range(start, end):
        row, seen = rows[place], features[place, common:]
        seen[SIMILARITY] = _dot(user, vectors[row])
        if last_row >= 0:
            seen[SIMILARITY_LAST] = _dot(vectors[last_row], vectors[row])
        seen[COLD] = 1.0
        if row < counts.size:
            seen[POPULARITY_HOUR] = popularity[row, 0]
            seen[POPULARITY_DAY] = popularity[row, 1]
            seen[POPULARITY_WEEK] = popularity[row, 2]
            seen[COUNT] = np.log1p(counts[row])
            seen[COLD] = 1.0 / np.sqrt(1.0 + counts[row])
            seen[WANTED_POPULARITY] = wanted[intent, row]
            seen[WANTED_RATE] = rates[intent, row]
            seen[AGE] = np.log1p(max(now - first_seen[row], 0) / DAY_MS)


@njit(cache=True, nogil=True)
def _compare(
    start: int,
    end: int,
    rows: Any,
    common: int,
    features: Any,
    recent: Any,
    vectors: Any,
    together: tuple[Any, Any, Any],
    keys: Any,
    places: Any,
) -> None:
    """Fills how each candidate goes with each of the user's newest different items, `recent`."""
    starts, others, scores = together
    items = min(recent.size, COUNTED)
    mean = np.zeros(vectors.shape[1], np.float32)
    for rank in range(items):
        item = recent[rank]
        mean += vectors[item] / np.float32(items)
        if item >= starts.size - 1:
            continue
        for at in range(starts[item], starts[item + 1]):
            slot = _slot(keys, others[at])
            if keys[slot] == EMPTY:
                continue
            seen = features[places[slot], common:]
            seen[TOGETHER_WITH] += 1.0
            if rank < COMPARED:
                seen[TOGETHER + rank] = np.log1p(STRENGTH_SCALE * scores[at])
    for place in range(start, end):
        row, seen = rows[place], features[place, common:]
        seen[SIMILARITY_MEAN] = _dot(mean, vectors[row])
        for rank in range(1, min(items, COMPARED)):
            seen[SIMILARITY_SECOND + rank - 1] = _dot(vectors[recent[rank]], vectors[row])
        seen[IS_SECOND] = items > 1 and row == recent[1]


@njit(cache=True, nogil=True)
def _describe_owned(bought: Any, common: int, features: Any, keys: Any, places: Any) -> None:
    """Fills which candidates the user has bought, and how many other items since."""
    for place in range(bought.size):
        row = bought[place]
        slot = _slot(keys, row) if row >= 0 else 0
        if row >= 0 and keys[slot] == row:
            seen = features[places[slot], common:]
            seen[OWNED] = 1.0
            seen[OWNED_PLACE] = np.log1p(float(bought.size - 1 - place))


@njit(cache=True, nogil=True)
def _describe_list(features: Any, times: Any, session_length: int, different: int, bought: int) -> None:
    """Fills what is the same for all candidates of a list."""
    features[:, HISTORY_LENGTH] = np.log1p(float(times.size))
    features[:, SESSION_LENGTH] = np.log1p(float(session_length))
    features[:, DISTINCT] = np.log1p(float(different))
    features[:, OWNED_ITEMS] = np.log1p(float(bought))
    if times.size > 1:
        features[:, PAUSE] = np.log1p(max(times[-1] - times[-2], 0) / SECOND_MS)


@njit(cache=True, nogil=True)
def _describe_habits(start: int, end: int, rows: Any, common: int, features: Any, now: int, habits: Any) -> None:
    """Fills how the items are used within sessions, and how long ago each was last seen."""
    rates, last_seen = habits
    for place in range(start, end):
        row, seen = rows[place], features[place, common:]
        if row < last_seen.size and last_seen[row] >= 0:
            seen[BEGINS : BEGINS + 3] = rates[row]
            seen[UNSEEN_FOR] = np.log1p(max(now - last_seen[row], 0) / HOUR_MS)


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
    facts: tuple[Any, Any, Any, Any, Any, Any, Any],
    together: tuple[Any, Any, Any],
    habits: tuple[Any, Any],
    out: tuple[Any, Any, Any, Any],
) -> None:
    """Candidates of all lists, each item once a list: the memories', those by vectors (the last of `found`), new ones,
    the user's own recent items, trending ones, and what the user has bought and may buy again.
    """
    history_rows, types, times, history_starts, now, intents, owned, owned_starts = histories
    new, again = new_and_again
    found_rows, found_scores = found
    rows, starts, sources, features = out
    memories, common = found_rows.shape[0] - 1, SCORE_COLUMNS * found_rows.shape[0]
    table_size = 64
    while table_size < 2 * rows.size // max(history_starts.size - 1, 1):
        table_size *= 2
    keys, places = np.full(table_size, EMPTY, np.int64), np.zeros(table_size, np.int64)
    used, recent, nothing = np.zeros(table_size, np.int64), np.zeros(recents, np.int32), np.zeros(1, np.float32)
    end = np.int64(0)
    for user in range(history_starts.size - 1):
        start = end
        first, last = history_starts[user], history_starts[user + 1]
        size = _recent_items(history_rows[first:last], types[first:last], kinds, recent)
        for source in range(memories + 5):
            listed, scores, bit, column = new[user], nothing, NEW, NO_SCORE
            if source <= memories:
                listed, scores, column = found_rows[source, user], found_scores[source, user], SCORE_COLUMNS * source
                bit = FIRST_MEMORY << source if source < memories else ANN
            elif source == memories + 2:
                listed, bit = recent[:size], RECENT
            elif source == memories + 3:
                listed, bit = trending, TRENDING
            elif source == memories + 4:
                listed, bit = again[user], RECENT
            end = _join_list(
                listed, scores, bit, column, common, available, keys, places, used, start, end, rows, sources, features
            )
        history, kinds_of_events = history_rows[first:last], types[first:last]
        length = _describe_history(
            history, kinds_of_events, times[first:last], now[user], kinds, keys, places, common, features
        )
        last_row = np.int64(history_rows[last - 1]) if last > first else np.int64(EMPTY)
        _describe_items(start, end, rows, common, features, users[user], last_row, now[user], intents[user], facts)
        _compare(start, end, rows, common, features, recent[:size], facts[0], together, keys, places)
        bought = owned[owned_starts[user] : owned_starts[user + 1]]
        _describe_owned(bought, common, features, keys, places)
        _describe_habits(start, end, rows, common, features, now[user], habits)
        everywhere = features[start:end, common:]
        _describe_list(everywhere, times[first:last], length, size, bought.size)
        everywhere[:, WANTED_RARITY] = facts[6][intents[user]]
        for at in range(end - start):
            keys[used[at]] = EMPTY
        starts[user + 1] = end


@njit(cache=True, nogil=True)
def _recent_items(history: Any, types: Any, kinds: Any, out: Any) -> int:
    """The user's latest different items, newest first, without those whose latest interaction was a rejection."""
    size, looked_at = 0, 0
    seen = np.zeros(len(history), np.int64)
    for at in range(len(history) - 1, -1, -1):
        row = history[at]
        known = row < 0
        for earlier in range(looked_at):
            known = known or seen[earlier] == row
        if known:
            continue
        seen[looked_at] = row
        looked_at += 1
        if kinds[types[at]] != NEGATIVE:
            out[size] = row
            size += 1
            if size == len(out):
                break
    return size
