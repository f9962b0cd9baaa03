"""How often what was bought is bought again: coffee is, sofas are not. Learned per category, from counts alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from indexing.histories import Floats
from stream.knowledge.log import Log

RARE = 0.05  # where a smaller share of purchases are repeats, a list loses next to nothing by leaving them out
PRIOR = 0.1  # the rate before anything was bought: above RARE, nothing is left out before there is a reason to
STRENGTH = 20.0  # purchases that a wider category's rate counts for
NO_CATEGORY = ("",)  # items without one are a category together

Ints = npt.NDArray[np.int64]


def repurchase_rates(log: Log, purchase: int, categories: Sequence[tuple[str, ...]]) -> Floats:
    """For each of N items which share of its category's purchases are repeats: not that user's first of that item.

    `purchase` is the code of the event type (-1 for none), `categories` (N,) paths from the widest to the narrowest.
    Purchases of one item by one user in one session are one purchase. Counted are the newest half of the purchases in
    the log: what came before them, and only that, can say whether they are repeats. The share is what a list that
    leaves out what was bought would miss for certain. Along a path each category's counts are joined by STRENGTH
    purchases with the rate of the one above, the first by the rate of all purchases, and these by PRIOR.
    """
    bought, repeats = _purchases(log, purchase, len(categories))
    everything = _rate(repeats.sum(), bought.sum(), PRIOR)
    counts: dict[tuple[str, ...], tuple[int, int]] = {}
    for row in np.flatnonzero(bought).tolist():
        path = categories[row] or NO_CATEGORY
        for depth in range(1, len(path) + 1):
            repeated, purchases = counts.get(path[:depth], (0, 0))
            counts[path[:depth]] = repeated + int(repeats[row]), purchases + int(bought[row])
    rates: dict[tuple[str, ...], float] = {(): everything}

    def rate(path: tuple[str, ...]) -> float:
        if path not in rates:
            above = rate(path[:-1])
            repeated, purchases = counts.get(path, (0, 0))
            rates[path] = _rate(repeated, purchases, above)
        return rates[path]

    return np.array([rate(path or NO_CATEGORY) for path in categories], np.float32)


def _purchases(log: Log, purchase: int, items: int) -> tuple[Ints, Ints]:
    """The newest half of the purchases of each item, and how many of them are repeats in a later session, (N,) each."""
    bought = np.flatnonzero(log.types == purchase)
    pairs, sessions = log.users[bought].astype(np.int64) * items + log.rows[bought], log.sessions[bought]
    order = np.argsort(pairs, kind="stable")  # each user's purchases of an item together, oldest first
    again, same_session = np.zeros(len(bought), np.bool_), np.zeros(len(bought), np.bool_)
    again[order[1:]] = pairs[order[1:]] == pairs[order[:-1]]
    same_session[order[1:]] = sessions[order[1:]] == sessions[order[:-1]]
    counts = ~(again & same_session)
    rows, repeated = log.rows[bought[counts]], again[counts]
    newest = slice(len(rows) // 2, None)
    return np.bincount(rows[newest], minlength=items), np.bincount(rows[newest][repeated[newest]], minlength=items)


def _rate(repeats: float, purchases: float, prior: float) -> float:
    return float((repeats + STRENGTH * prior) / (purchases + STRENGTH))
