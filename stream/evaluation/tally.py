"""Counting up the ranks of an evaluation, and what is printed of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from models.quality import gains_at, hits_at, mrr, ndcg, recall, reciprocal_ranks_at
from stream.evaluation.bootstrap import Floats, Scored, intervals, resampled
from stream.wire.times import to_iso

MEASURES = {"recall": recall, "mrr": mrr, "ndcg": ndcg}
EACH = {"recall": hits_at, "mrr": reciprocal_ranks_at, "ndcg": gains_at}  # the same, query by query

Bools = npt.NDArray[np.bool_]


class Counted(NamedTuple):
    """A period's result: Q queries' `users`, which of their targets are `cold` (without any event when the last refresh
    was made) and which are `counted` in the means, and the targets' `ranks` by recommender, 0 where missing.
    """

    period: int
    begins: int  # epoch milliseconds of its first event
    users: npt.NDArray[np.int64]
    cold: Bools
    counted: Bools
    ranks: Mapping[str, npt.NDArray[np.int64]]
    shown: Mapping[str, set[str]]  # the items that stood in any list
    items: int  # that could have
    types: npt.NDArray[np.str_]  # the event type of each target

    def ranks_of(self, name: str) -> npt.NDArray[np.int64]:
        """The ranks that count."""
        return self.ranks[name][self.counted]


def summary(
    counted: Sequence[Counted], cutoffs: Sequence[int], names: Sequence[str], seed: int, *, by_period: bool
) -> dict[str, Any]:
    """The measures of an evaluation's JSON; the first of `names` is the model.

    `mean` is over the periods, each with the same weight, where `by_period`, else over all queries; `intervals` hold
    95 % of its bootstrap, `differences` are paired ones to each baseline. `known` and `cold` split the targets, over
    all queries, and `by_type` where there are several event types. `unseen` counts the cold ones: left out of `queries`
    by `periods` (as the published numbers do).
    """
    model = names[0]
    periods = [
        {
            "period": one.period,
            "begins": to_iso(one.begins),
            "queries": int(np.count_nonzero(one.counted)),
            "unseen": int(np.count_nonzero(one.cold)),
        }
        | scores(one.ranks_of(model), cutoffs)
        | {"against": {name: scores(one.ranks_of(name), cutoffs) for name in names[1:]}}
        for one in counted
    ]
    values = {name: _values(counted, name, cutoffs, by_period=by_period) for name in names}
    return {
        "mean": values[model],
        **_certainty(counted, cutoffs, values, seed, by_period=by_period),
        "periods": periods,
        "queries": sum(one["queries"] for one in periods),
        "unseen": sum(one["unseen"] for one in periods),
        "known": _group(counted, cutoffs, names, [one.counted & ~one.cold for one in counted]),
        "cold": _group(counted, cutoffs, names, [one.cold for one in counted]),
        "by_type": _by_type(counted, cutoffs, names),
        "coverage": coverage_of(counted, model),
        "against": {name: values[name] for name in names[1:]},
    }


def rank_in(target: str, listed: Sequence[str]) -> int:
    """The target's place in a list, from 1 on; 0 where it is missing."""
    return listed.index(target) + 1 if target in listed else 0


def scores(ranks: np.ndarray, cutoffs: Sequence[int]) -> dict[str, float]:
    """`recall@k`, `mrr@k` and `ndcg@k` for each cut-off.

    >>> scores(np.array([1, 0, 2, 0]), [1])
    {'recall@1': 0.25, 'mrr@1': 0.25, 'ndcg@1': 0.25}
    """
    return {f"{name}@{k}": measure(ranks, k) for k in cutoffs for name, measure in MEASURES.items()}


def coverage_of(counted: Sequence[Counted], model: str) -> float:
    """Share of the items that could be recommended which stood in at least one list."""
    shown = set[str]().union(*(one.shown[model] for one in counted))
    return len(shown) / max(len(shown), *(one.items for one in counted)) if shown else 0.0


def condensed(periods: Sequence[Mapping[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most so many periods: neighbouring ones put together, their measures weighed by queries."""
    size = -(-len(periods) // most) if most else 1
    return [_together(periods[at : at + size]) for at in range(0, len(periods), size)] if size else []


def _together(periods: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = periods[0]
    if len(periods) == 1:
        return dict(first)
    weights = [one["queries"] for one in periods]
    parts = {name: [one["against"][name] for one in periods] for name in first["against"]}
    return {
        "period": f"{first['period']}–{periods[-1]['period']}",
        "begins": first["begins"],
        "queries": sum(weights),
        "unseen": sum(one["unseen"] for one in periods),
        **_weighed([{key: one[key] for key in one if "@" in key} for one in periods], weights),
        "against": {name: _weighed(found, weights) for name, found in parts.items()},
    }


def _weighed(parts: Sequence[Mapping[str, float]], weights: Sequence[int]) -> dict[str, float]:
    total = max(sum(weights), 1)
    return {
        key: sum(part[key] * weight for part, weight in zip(parts, weights, strict=True)) / total for key in parts[0]
    }


def _values(counted: Sequence[Counted], name: str, cutoffs: Sequence[int], *, by_period: bool) -> dict[str, float]:
    if not counted:
        return {}
    if not by_period:
        return scores(np.concatenate([one.ranks_of(name) for one in counted]), cutoffs)
    each = [scores(one.ranks_of(name), cutoffs) for one in counted if one.counted.any()]
    return {key: float(np.mean([one[key] for one in each])) for key in each[0]} if each else {}


def _certainty(
    counted: Sequence[Counted],
    cutoffs: Sequence[int],
    values: Mapping[str, dict[str, float]],
    seed: int,
    *,
    by_period: bool,
) -> dict[str, Any]:
    """`intervals` of the model's means, `intervals_against` of the baselines', `differences` with theirs."""
    keys = [f"{name}@{k}" for k in cutoffs for name in EACH]
    users = np.unique(np.concatenate([np.zeros(0, np.int64), *(one.users[one.counted] for one in counted)]))
    parts = (_scored(one, list(values), cutoffs) for one in counted)
    drawn = resampled(parts, users, seed, by_part=by_period)
    columns = {
        name: {key: drawn[:, at * len(keys) + place] for place, key in enumerate(keys)} if len(drawn) else {}
        for at, name in enumerate(values)
    }
    model, *others = values
    differences = {
        name: {
            key: {"difference": values[model][key] - values[name][key], "interval": found}
            for key, found in intervals(
                {key: columns[model][key] - columns[name][key] for key in columns[name]}
            ).items()
        }
        for name in others
    }
    return {
        "intervals": intervals(columns[model]),
        "intervals_against": {name: intervals(columns[name]) for name in others},
        "differences": differences,
    }


def _scored(one: Counted, names: Sequence[str], cutoffs: Sequence[int]) -> Scored:
    """Measures side by side: those of the first recommender, then those of the second, ..."""
    ranks = [one.ranks_of(name) for name in names]
    values: list[Floats] = [each(found, k) for found in ranks for k in cutoffs for each in EACH.values()]
    return Scored(one.users[one.counted], np.stack(values, axis=1))


def _by_type(counted: Sequence[Counted], cutoffs: Sequence[int], names: Sequence[str]) -> dict[str, Any]:
    """The measures by the event type of the target; empty where there is but one."""
    types = np.unique(np.concatenate([np.zeros(0, np.str_), *(one.types for one in counted)])).tolist()
    if len(types) < 2:
        return {}
    return {
        kind: _group(counted, cutoffs, names, [one.counted & (one.types == kind) for one in counted]) for kind in types
    }


def _group(
    counted: Sequence[Counted], cutoffs: Sequence[int], names: Sequence[str], chosen: Sequence[Bools]
) -> dict[str, Any]:
    """The measures over some of the queries."""
    ranks = {
        name: np.concatenate(
            [np.zeros(0, np.int64), *(one.ranks[name][mask] for one, mask in zip(counted, chosen, strict=True))]
        )
        for name in names
    }
    against = {name: scores(ranks[name], cutoffs) for name in names[1:]}
    return {"queries": len(ranks[names[0]]), **scores(ranks[names[0]], cutoffs), "against": against}
