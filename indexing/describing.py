"""The compiled loops that describe candidates (numba): what the history, the items and their vectors say of each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from indexing.columns import (
    AGE,
    BEGINS,
    COLD,
    COMPARED,
    COUNT,
    COUNTED,
    DISTINCT,
    HISTORY_LENGTH,
    HISTORY_RECENCY,
    HOUR_MS,
    HOURS_SINCE,
    IN_SESSION,
    IS_LAST,
    IS_SECOND,
    NEGATIVE,
    OWNED,
    OWNED_ITEMS,
    OWNED_PLACE,
    PAUSE,
    POPULARITY_HOUR,
    PURCHASE,
    PURCHASED,
    REJECTED,
    SECOND_MS,
    SESSION_GAP_MS,
    SESSION_LENGTH,
    SIMILARITY,
    SIMILARITY_LAST,
    SIMILARITY_MEAN,
    SIMILARITY_SECOND,
    SIMILARITY_THIRD,
    STRENGTH_SCALE,
    TIMES_IN_HISTORY,
    TOGETHER,
    TOGETHER_WITH,
    UNSEEN_FOR,
    WANTED_POPULARITY,
    WANTED_RARITY,
    WANTED_RATE,
)
from indexing.item_facts import COLDNESS, HABITS, POPULAR, SINCE_FIRST, SINCE_LAST
from indexing.item_facts import COUNTED as LOG_COUNT
from indexing.kernels import EMPTY, _slot
from indexing.uncounted import uncounted

USER, LAST, SECOND, THIRD, MEAN, SIDES = range(6)  # the vectors with which every candidate's is compared


@uncounted
def log1p(x: Any) -> Any:
    """log(1 + x) of x >= 0 in single precision: a fraction of the cost of the double one.

    What 1 + x rounds off is put back in proportion (Kahan).
    """
    x = np.float32(x)
    whole = np.float32(1.0) + x
    if whole == np.float32(1.0) or whole == np.inf:
        return x
    return np.log(whole) * (x / (whole - np.float32(1.0)))


@uncounted
def describe_history(
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
            seen[HOURS_SINCE] = log1p(max(now - times[at], 0) / HOUR_MS)
            seen[REJECTED] = kinds[types[at]] == NEGATIVE
        seen[TIMES_IN_HISTORY] += 1.0
        if kinds[types[at]] == PURCHASE:
            seen[PURCHASED] = 1.0
    return session_length


@uncounted
def describe_together(
    recent: Any, together: tuple[Any, Any, Any], keys: Any, places: Any, common: int, features: Any
) -> None:
    """Fills with which of the user's newest different items, `recent`, each candidate is visited together."""
    starts, others, scores = together
    for rank in range(min(recent.size, COUNTED)):
        item = recent[rank]
        if item >= starts.size - 1:
            continue
        for at in range(starts[item], starts[item + 1]):
            slot = _slot(keys, others[at])
            if keys[slot] == EMPTY:
                continue
            seen = features[places[slot], common:]
            seen[TOGETHER_WITH] += 1.0
            if rank < COMPARED:
                seen[TOGETHER + rank] = log1p(STRENGTH_SCALE * scores[at])


@uncounted
def describe_owned(bought: Any, common: int, features: Any, keys: Any, places: Any) -> None:
    """Fills which candidates the user has bought, and how many other items since."""
    for place in range(bought.size):
        row = bought[place]
        slot = _slot(keys, row) if row >= 0 else 0
        if row >= 0 and keys[slot] == row:
            seen = features[places[slot], common:]
            seen[OWNED] = 1.0
            seen[OWNED_PLACE] = np.log1p(float(bought.size - 1 - place))


@uncounted
def describe_list(times: Any, session_length: int, different: int, bought: int, rarity: Any, features: Any) -> None:
    """Fills what is the same for all candidates of a list, the columns of `features`."""
    pause = np.log1p(max(times[-1] - times[-2], 0) / SECOND_MS) if times.size > 1 else 0.0
    history, session = np.log1p(float(times.size)), np.log1p(float(session_length))
    distinct, owned = np.log1p(float(different)), np.log1p(float(bought))
    for place in range(len(features)):
        seen = features[place]
        seen[HISTORY_LENGTH], seen[SESSION_LENGTH], seen[DISTINCT], seen[OWNED_ITEMS] = (
            history,
            session,
            distinct,
            owned,
        )
        seen[PAUSE], seen[WANTED_RARITY] = pause, rarity


@uncounted
def compared_with(user: Any, last_row: int, recent: Any, vectors: Any, out: Any) -> None:
    """The vectors with which all candidates of a list are compared, (SIDES, D); zeros for what there is not."""
    out[:] = np.float32(0.0)
    items = min(recent.size, COUNTED)
    for at in range(user.size):
        out[USER, at] = user[at]
        if last_row >= 0:
            out[LAST, at] = vectors[last_row, at]
    for rank in range(items):
        row = recent[rank]
        for at in range(user.size):
            out[MEAN, at] += vectors[row, at] / np.float32(items)
            if 0 < rank < COMPARED:
                out[SECOND + rank - 1, at] = vectors[row, at]


@uncounted
def describe_items(
    rows: Any,
    features: Any,
    second: int,
    elapsed: float,
    sides: Any,
    vectors: Any,
    table: Any,
    wanted: Any,
) -> None:
    """Fills what the items and their vectors say of each candidate of a list. Rows past the `table` are newer than the
    artifact; `second` is the user's last but one different item; `elapsed` are the hours since the table's `as_of`.
    """
    for place in range(rows.size):
        row, seen = rows[place], features[place]
        similar = _similarities(sides, vectors, row)
        seen[SIMILARITY], seen[SIMILARITY_LAST], seen[SIMILARITY_MEAN] = similar[USER], similar[LAST], similar[MEAN]
        seen[SIMILARITY_SECOND], seen[SIMILARITY_THIRD] = similar[SECOND], similar[THIRD]
        seen[IS_SECOND] = row == second
        seen[COLD] = 1.0
        if row < len(table):
            facts = table[row]
            for at in range(POPULARITY_HOUR, COUNT):
                seen[at] = facts[POPULAR + at - POPULARITY_HOUR]
            for at in range(3):
                seen[BEGINS + at] = facts[HABITS + at]
            seen[COUNT], seen[COLD] = facts[LOG_COUNT], facts[COLDNESS]
            seen[WANTED_POPULARITY], seen[WANTED_RATE] = wanted[row, 0], wanted[row, 1]
            seen[AGE] = log1p(max(elapsed + facts[SINCE_FIRST], 0.0) / 24.0)
            seen[UNSEEN_FOR] = log1p(max(elapsed + facts[SINCE_LAST], 0.0))


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"}, _nrt=False)
def _similarities(sides: Any, vectors: Any, row: int) -> Any:
    """Inner products of one item's vector with those of `compared_with`: the item's is read once."""
    user = last = second = third = mean = np.float32(0.0)
    for at in range(vectors.shape[1]):
        x = vectors[row, at]
        user += sides[USER, at] * x
        last += sides[LAST, at] * x
        second += sides[SECOND, at] * x
        third += sides[THIRD, at] * x
        mean += sides[MEAN, at] * x
    return user, last, second, third, mean
