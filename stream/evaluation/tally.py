"""Counting up the ranks of an evaluation, and what is printed of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from models.quality import mrr, ndcg, recall

MEASURES = {"recall": recall, "mrr": mrr, "ndcg": ndcg}


class Counted(NamedTuple):
    """A period's result: ranks of its targets (0 where missing) by recommender, and how many were unseen items."""

    period: int
    ranks: Mapping[str, np.ndarray]
    shown: Mapping[str, set[str]]  # the items that stood in any list
    items: int  # that could have
    unseen: int


def summary(
    counted: Sequence[Counted], cutoffs: Sequence[int], model: str, seconds: Mapping[str, float], *, by_period: bool
) -> dict[str, Any]:
    """The evaluation's JSON.

    `mean` is over the periods, each with the same weight, where `by_period`, else over all queries. `unseen` counts
    targets that were no item the model could know: left out of `queries` by `periods` (as the published numbers do),
    misses in `prequential`.
    """
    names = list(dict.fromkeys(name for period in counted for name in period.ranks))
    values = {name: _values(counted, name, cutoffs, by_period=by_period) for name in names}
    periods = [
        {"period": one.period, "queries": len(one.ranks[model]), "unseen": one.unseen}
        | scores(one.ranks[model], cutoffs)
        | {"against": {name: scores(one.ranks[name], cutoffs) for name in names if name != model}}
        for one in counted
    ]
    return {
        "mean": values.get(model, {}),
        "periods": periods,
        "queries": sum(len(one.ranks[model]) for one in counted),
        "unseen": sum(one.unseen for one in counted),
        "coverage": coverage_of(counted, model),
        "seconds": dict(seconds),
        "against": {name: found for name, found in values.items() if name != model},
    }


def scores(ranks: np.ndarray, cutoffs: Sequence[int]) -> dict[str, float]:
    """`recall@k`, `mrr@k` and `ndcg@k` for each cut-off.

    >>> scores(np.array([1, 0, 2, 0]), [1])
    {'recall@1': 0.25, 'mrr@1': 0.25, 'ndcg@1': 0.25}
    """
    return {f"{name}@{k}": measure(ranks, k) for k in cutoffs for name, measure in MEASURES.items()}


def coverage_of(counted: Sequence[Counted], model: str) -> float:
    """Share of the items that could be recommended which stood in at least one list."""
    shown = set[str]().union(*(one.shown[model] for one in counted))
    return len(shown) / max((one.items for one in counted), default=1) if shown else 0.0


def _values(counted: Sequence[Counted], name: str, cutoffs: Sequence[int], *, by_period: bool) -> dict[str, float]:
    if not counted:
        return {}
    if not by_period:
        return scores(np.concatenate([one.ranks[name] for one in counted]), cutoffs)
    each = [scores(one.ranks[name], cutoffs) for one in counted if len(one.ranks[name])]
    return {key: float(np.mean([one[key] for one in each])) for key in each[0]} if each else {}
