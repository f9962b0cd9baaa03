"""From scored candidates to lists (numba, nogil): the best of each, and places in which items get seen by lot.

The best candidates alone would never show an item that nobody has touched: nothing speaks for it but its content. So a
list of ten or more keeps `slots` places, the last of its first ten, for cold items: each is drawn from the best cold
candidates that do not stand above these places anyway, with chances that grow with their scores, and its chance is
reported with it. Whoever learns from what was clicked can divide by it (inverse propensity: Horvitz and Thompson,
1952).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from indexing.columns import NEW
from indexing.kernels import _best

SHORTEST = 10  # items of a list that has such places
DRAWN_FROM = 16  # cold candidates for each place
TEMPERATURE = 0.1  # chances grow as exp(score / this): about two or three of the sixteen are drawn most of the time
EVEN_SHARE = 0.05  # of the chances of a place that all its candidates share evenly, so that none has nearly no chance


@njit(cache=True, nogil=True)
def explorable(rows: Any, starts: Any, cold: Any, features: Any, met: int, found: Any, users: Any) -> int:
    """Says of each candidate whether the places for cold items are for it, in `found` (M,), and of each user whether
    they have any, in `users` (B,); returns how many users do.

    `cold` (N + 1,) are items that nobody has touched and, as the last one, all newer ones; `met` the column of
    `features` (M, F) that says how often the user has met the item.
    """
    newer, count = cold.size - 1, 0
    for user in range(starts.size - 1):
        has = False
        for at in range(starts[user], starts[user + 1]):
            found[at] = cold[min(rows[at], newer)] and features[at, met] == 0.0
            has = has or found[at]
        users[user] = has
        count += has
    return count


@njit(cache=True, nogil=True)
def best_of_lists(
    keys: Any,
    scores: Any,
    starts: Any,
    counts: Any,
    cold: Any,
    slots: int,
    lots: Any,
    sources: Any,
    result: tuple[Any, Any, Any],
) -> None:
    """Fills `result`: positions of each list's candidates (B, K), best first, -1 behind the last; the chance of each to
    stand there (B, K); how many were drawn (B,).

    -inf is never chosen. `cold` (M,) says which candidates the `slots` places are for, `lots` (B,) what is drawn by:
    the same lot draws the same. In `scores` what was drawn takes one between those of its neighbours, in `sources` the
    bit of new items.
    """
    out, out_chances, out_drawn = result
    longest = 1
    for user in range(starts.size - 1):
        longest = max(longest, starts[user + 1] - starts[user])
    positions, ranks = np.zeros(longest, np.int64), np.zeros(longest, np.int64)
    slots = min(slots, SHORTEST)
    best, drawn = np.zeros(out.shape[1], np.int64), np.zeros(slots, np.int64)
    pool, chances = np.zeros(DRAWN_FROM * slots, np.int64), np.zeros(DRAWN_FROM * slots, np.float64)
    for user in range(starts.size - 1):
        start, size = starts[user], starts[user + 1] - starts[user]
        for at in range(size):
            positions[at], ranks[at] = start + at, size
        listed = _best(keys, scores, positions, size, best, counts[user])
        for at in range(listed):
            out[user, at] = best[at]
            out_chances[user, at] = 1.0
            ranks[best[at] - start] = at
        if slots == 0 or counts[user] < SHORTEST or listed < counts[user]:
            continue
        places, others = slots + 1, 0
        while others < places:
            places, others = places - 1, 0
            for at in range(size):
                if cold[start + at] and ranks[at] >= SHORTEST - places:
                    positions[others] = start + at
                    others += 1
            others = _best(keys, scores, positions, others, pool, DRAWN_FROM * places)
        _chances(scores, pool, others, places, chances)
        for place in range(places):
            drawn[place] = _draw(chances, place, others, places, lots[user])
        _place(best, listed, pool, chances, drawn, places, out[user], out_chances[user])
        for place in range(places):
            sources[pool[drawn[place]]] |= NEW
        _tail(listed, ranks, start, pool, chances, others, places, out[user], out_chances[user])
        _between(scores, out[user], listed, SHORTEST - places, SHORTEST)
        out_drawn[user] = places


@njit(cache=True, nogil=True)
def _chances(scores: Any, pool: Any, size: int, places: int, chances: Any) -> None:
    """Place p draws from every `places`-th of the pool from p on: nothing can be drawn twice, and the draws are
    independent.
    """
    for place in range(places):
        total, count = 0.0, 0
        for at in range(place, size, places):
            chances[at] = np.exp(np.float64(scores[pool[at]] - scores[pool[place]]) / TEMPERATURE)
            total += chances[at]
            count += 1
        for at in range(place, size, places):
            chances[at] = (1.0 - EVEN_SHARE) * chances[at] / total + EVEN_SHARE / count


@njit(cache=True, nogil=True)
def _draw(chances: Any, place: int, size: int, places: int, lot: Any) -> int:
    """Where in the pool what one place draws is."""
    left, chosen = _fraction(lot, place), place
    for at in range(place, size, places):
        chosen = at
        left -= chances[at]
        if left < 0.0:
            break
    return chosen


@njit(cache=True, nogil=True)
def _place(
    best: Any, listed: int, pool: Any, chances: Any, drawn: Any, places: int, out: Any, out_chances: Any
) -> None:
    """Puts what was drawn into the last of the first ten places; the others move on, and as many fall out."""
    at = SHORTEST - places
    for place in range(SHORTEST - places, listed):
        if place < SHORTEST:
            chosen = drawn[place - SHORTEST + places]
            out[place] = pool[chosen]
            out_chances[place] = chances[chosen]
            continue
        taken = True
        while taken:
            taken = False
            for other in range(places):
                taken = taken or best[at] == pool[drawn[other]]
            at += taken
        out[place] = best[at]
        at += 1


@njit(cache=True, nogil=True)
def _tail(
    listed: int,
    ranks: Any,
    start: int,
    pool: Any,
    chances: Any,
    size: int,
    places: int,
    out: Any,
    out_chances: Any,
) -> None:
    """The chances of the last places, which are free for the next best as often as what stood before was drawn.

    The candidate of rank `listed - places + j` (j = 0 .. places - 1) is there if more than j of the draws took one of a
    better rank. The draws are independent: the number of such draws is summed up place by place.
    """
    numbers = np.zeros(places + 1, np.float64)
    for place in range(SHORTEST, listed):
        rank = ranks[out[place] - start]
        if rank < listed - places:
            continue
        numbers[:] = 0.0
        numbers[0] = 1.0
        for drawing in range(places):
            better, itself = 0.0, 0.0
            for at in range(drawing, size, places):
                better += chances[at] if ranks[pool[at] - start] < rank else 0.0
                itself += chances[at] if pool[at] == out[place] else 0.0
            for number in range(drawing + 1, 0, -1):
                numbers[number] = numbers[number] * (1.0 - better - itself) + numbers[number - 1] * better
            numbers[0] *= 1.0 - better - itself
        out_chances[place] = numbers[rank - listed + places + 1 :].sum()


@njit(cache=True, nogil=True)
def _between(scores: Any, out: Any, listed: int, first: int, end: int) -> None:
    """Gives what was drawn scores between those of its neighbours: a list's scores never rise."""
    for place in range(first, end):
        score = scores[out[place]]
        if end < listed:
            score = max(score, scores[out[end]])
        if place > 0:
            score = min(score, scores[out[place - 1]])
        scores[out[place]] = score


@njit(cache=True, nogil=True)
def _fraction(lot: Any, place: int) -> float:
    """A number from 0 to below 1 that looks random and is the same for the same lot and place (SplitMix64)."""
    x = np.uint64(lot) + np.uint64(place + 1) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return np.float64(x >> np.uint64(11)) * 2.0**-53
