"""Confidence intervals of an evaluation, by the bootstrap over users (Efron, Annals of Statistics 1979).

A user's queries resemble one another, so users are drawn, each with all of their queries in all periods; queries drawn
one by one would promise more certainty than there is. All recommenders are scored on the same draws: the interval of a
difference is a paired one. More than BUCKETS users are put together into that many random groups, which are drawn in
their place: groups of independent users vary among themselves just as much as the mean of so many users does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BUCKETS = 2_000
DRAWS = 1_000
LEVEL = 0.95


class Scored(NamedTuple):
    """Q queries whose mean is taken together: `users` (Q,) numbers, `values` (Q, M) of M measures."""

    users: Ints
    values: Floats


def resampled(parts: Iterable[Scored], users: Ints, seed: int, *, by_part: bool, draws: int = DRAWS) -> Floats:
    """What the means of M measures come to with users drawn anew each time, (draws, M).

    `users` are the distinct ones of all parts. The mean of the parts' means where `by_part` (a part of which no user
    was drawn is left out of that draw), else over all queries. No rows at all for fewer than two users.
    """
    if len(users) < 2:
        return np.zeros((0, 0))
    rng = np.random.default_rng([seed, 11])
    count = min(len(users), BUCKETS)
    buckets = rng.permutation(len(users)) % count
    weights = rng.multinomial(count, np.full(count, 1.0 / count), size=draws).astype(np.float64)
    kept = (part for part in parts if len(part.users))
    sums: Iterable[Floats] = (_sums(part, buckets[np.searchsorted(users, part.users)], count) for part in kept)
    if not by_part:
        sums = [sum(sums, start=np.zeros(1))]
    total, weighed = np.zeros(1), np.zeros((draws, 1))
    for found in sums:
        drawn = weights @ found  # (draws, M + 1)
        queries = drawn[:, -1:]
        total = total + drawn[:, :-1] / np.maximum(queries, 1)
        weighed += queries > 0
    return np.asarray(total / np.maximum(weighed, 1))


def _sums(part: Scored, buckets: Ints, count: int) -> Floats:
    """Each bucket's sum of each measure and, last, its queries, (buckets, M + 1)."""
    columns = [np.bincount(buckets, column, count) for column in part.values.T]
    return np.stack([*columns, np.bincount(buckets, minlength=count).astype(np.float64)], axis=1)


def interval(drawn: Floats) -> list[float]:
    """The bounds between which LEVEL of the drawn values lie."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), float(high)]


def intervals(drawn: Mapping[str, Floats]) -> dict[str, list[float]]:
    """The interval of each measure; none where nothing was drawn."""
    return {name: interval(values) for name, values in drawn.items() if len(values)}
