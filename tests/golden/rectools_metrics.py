"""Makes `rectools_metrics.json`: random lists, and what another library says of them.

    python -m venv other && other/bin/pip install rectools==0.19.0
    other/bin/python tests/golden/rectools_metrics.py > tests/golden/rectools_metrics.json

RecTools wants an older numpy than we do, hence an environment of its own.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
from rectools import Columns
from rectools.metrics import MRR, NDCG, Recall, calc_metrics

CUTOFFS = (1, 5, 10, 20)


def main() -> None:
    """Forty lists of twenty out of sixty items, one target each."""
    rng = np.random.default_rng(12)
    lists = [rng.permutation(60)[:20].tolist() for _ in range(40)]
    targets = rng.integers(60, size=40).tolist()
    places = [(user, item, place) for user, listed in enumerate(lists) for place, item in enumerate(listed, 1)]
    reco = pd.DataFrame(places, columns=[Columns.User, Columns.Item, Columns.Rank])
    wanted = pd.DataFrame({Columns.User: range(len(targets)), Columns.Item: targets})
    metrics = {f"recall@{k}": Recall(k=k) for k in CUTOFFS} | {f"mrr@{k}": MRR(k=k) for k in CUTOFFS}
    metrics |= {f"ndcg@{k}": NDCG(k=k, divide_by_achievable=True) for k in CUTOFFS}
    found = calc_metrics(metrics, reco=reco, interactions=wanted)
    made = {"lists": lists, "targets": targets, "measures": {name: float(value) for name, value in found.items()}}
    sys.stdout.write(json.dumps(made) + "\n")


if __name__ == "__main__":
    main()
