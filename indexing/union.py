"""The compiled loop that joins all sources into candidates (numba); `indexing.candidates` explains the features."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from indexing.kernels import EMPTY, _dot, _slot

SESSIONS, COVISITATION, ANN, RECENT, TRENDING, NEW = 1, 2, 4, 8, 16, 32  # bits of `sources`
BITS = (SESSIONS, COVISITATION, ANN, NEW, RECENT, TRENDING)  # in the order of joining
POSITIVE, PURCHASE, NEGATIVE = 0, 1, 2  # kinds of event types
SESSION_GAP_MS = 1_800_000
HOUR_MS, DAY_MS = 3_600_000.0, 86_400_000.0

# fmt: off
(SESSIONS_SCORE, SESSIONS_RANK, COVISITATION_SCORE, COVISITATION_RANK, ANN_SCORE, ANN_RANK, AGREEMENT, SIMILARITY,
 SIMILARITY_LAST, POPULARITY_HOUR, POPULARITY_DAY, POPULARITY_WEEK, COUNT, IS_LAST, IN_SESSION, TIMES_IN_HISTORY,
 HISTORY_RECENCY, HOURS_SINCE, PURCHASED, REJECTED, AGE, COLD, HISTORY_LENGTH, SESSION_LENGTH,) = range(24)
# fmt: on
SCORES = (SESSIONS_SCORE, COVISITATION_SCORE, ANN_SCORE, -1, -1, -1)


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
    feature: int,
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
    """Joins one source's list; `feature` is the column of its score, the next that of its rank, -1 for neither."""
    for rank in range(listed.size):
        row = listed[rank]
        if row < 0 or not available[row]:
            continue
        place, after = _candidate(keys, places, used, row, start, end, rows, features)
        if after > end:
            sources[place] = 0
            end = after
        sources[place] |= bit
        if feature >= 0:
            features[place, feature] = scores[rank] / max(scores[0], np.float32(1e-9))
            features[place, feature + 1] = 1.0 / (1.0 + rank)
            features[place, AGREEMENT] += 1.0
    return end


@njit(cache=True, nogil=True)
def _describe_history(
    history: Any, types: Any, times: Any, now: int, kinds: Any, keys: Any, places: Any, features: Any
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
        seen = features[places[slot]]
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
    features: Any,
    user: Any,
    last_row: int,
    now: int,
    vectors: Any,
    popularity: Any,
    counts: Any,
    first_seen: Any,
) -> None:
    """Fills what the item and its vector say of each candidate. Rows past `counts` are newer than the artifact."""
    for place in range(start, end):
        row, seen = rows[place], features[place]
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
            seen[AGE] = np.log1p(max(now - first_seen[row], 0) / DAY_MS)


@njit(cache=True, nogil=True)
def join(
    histories: tuple[Any, Any, Any, Any, Any],
    kinds: Any,
    users: Any,
    sessions: tuple[Any, Any],
    covisitation: tuple[Any, Any],
    ann: tuple[Any, Any],
    new: tuple[Any, Any],
    trending: Any,
    recents: int,
    available: Any,
    facts: tuple[Any, Any, Any, Any],
    out: tuple[Any, Any, Any, Any],
) -> None:
    """Candidates of all lists: sessions, co-visitation, ANN, new, own recent items, trending, each item once a list."""
    history_rows, types, times, history_starts, now = histories
    vectors, popularity, counts, first_seen = facts
    rows, starts, sources, features = out
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
        for source in range(len(BITS)):
            listed, scores = sessions[0][user], sessions[1][user]
            if source == 1:
                listed, scores = covisitation[0][user], covisitation[1][user]
            elif source == 2:
                listed, scores = ann[0][user], ann[1][user]
            elif source == 3:
                listed, scores = new[0][user], nothing
            elif source == 4:
                listed, scores = recent[:size], nothing
            elif source == 5:
                listed, scores = trending, nothing
            bit, feature = BITS[source], SCORES[source]
            end = _join_list(
                listed, scores, bit, feature, available, keys, places, used, start, end, rows, sources, features
            )
        length = _describe_history(
            history_rows[first:last], types[first:last], times[first:last], now[user], kinds, keys, places, features
        )
        last_row = np.int64(history_rows[last - 1]) if last > first else np.int64(EMPTY)
        _describe_items(
            start, end, rows, features, users[user], last_row, now[user], vectors, popularity, counts, first_seen
        )
        features[start:end, HISTORY_LENGTH] = np.log1p(float(last - first))
        features[start:end, SESSION_LENGTH] = np.log1p(float(length))
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
