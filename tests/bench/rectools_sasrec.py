"""SASRec as RecTools makes it, on a sequences file, by our measures and by RecTools' own.

    python -m venv other && other/bin/pip install 'rectools[torch]==0.19.0'
    PYTHONPATH=. other/bin/python tests/bench/rectools_sasrec.py beauty.txt.gz 10

The last item of each user is asked for, all others are learned from for so many epochs, and nothing that the user has
had is left out of the lists: the protocol of `alluvium evaluate FILE --protocol leave-last-out`.
"""

from __future__ import annotations

import gzip
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.metrics import MRR, NDCG, Recall, calc_metrics
from rectools.models import SASRecModel

from models.quality import mrr, ndcg, recall

CUTOFFS = (10, 20)


def read(file: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What is learned from and what is asked for; an event's time is its place in the sequence."""
    rows = []
    with gzip.open(file, "rt") as lines:
        for line in lines:
            user, *items = line.split()
            rows += [(user, item, place, place == len(items) - 1) for place, item in enumerate(items)]
    events = pd.DataFrame(rows, columns=[Columns.User, Columns.Item, Columns.Datetime, "last"])
    events[Columns.Datetime] = pd.to_datetime(events[Columns.Datetime], unit="D")
    events[Columns.Weight] = 1.0
    return events[~events["last"]].drop(columns="last"), events[events["last"]].drop(columns="last")


def main(file: Path, epochs: int) -> None:
    """Fits, asks, and prints both libraries' figures."""
    torch.manual_seed(7)
    learned, asked = read(file)
    model = SASRecModel(
        n_blocks=2, n_heads=2, n_factors=64, session_max_len=50, dropout_rate=0.2, lr=0.001, batch_size=128,
        loss="softmax", epochs=epochs, deterministic=True,
    )  # fmt: skip
    begin = time.perf_counter()
    dataset = Dataset.construct(learned)
    model.fit(dataset)
    fitted = time.perf_counter()
    lists = model.recommend(asked[Columns.User].unique(), dataset, k=max(CUTOFFS), filter_viewed=False)
    targets = dict(zip(asked[Columns.User], asked[Columns.Item], strict=True))
    hits = lists[lists[Columns.Item] == lists[Columns.User].map(targets)]
    found = dict(zip(hits[Columns.User], hits[Columns.Rank], strict=True))
    ranks = np.array([found.get(user, 0) for user in targets], np.int64)
    print(f"{len(ranks):,} queries, {epochs} epochs, {fitted - begin:.0f} s of learning")
    theirs = {"recall": Recall, "mrr": MRR, "ndcg": NDCG}
    measures = {f"{name}@{k}": measure(k=k) for name, measure in theirs.items() for k in CUTOFFS}
    measures |= {f"ndcg@{k}": NDCG(k=k, divide_by_achievable=True) for k in CUTOFFS}
    values = calc_metrics(measures, reco=lists, interactions=asked)
    for k in CUTOFFS:
        for name, measure in (("recall", recall), ("mrr", mrr), ("ndcg", ndcg)):
            mine, other = measure(ranks, k), float(values[f"{name}@{k}"])
            print(f"{name}@{k}: {mine:.4f} by our measure, {abs(mine - other):.1e} from RecTools'")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
