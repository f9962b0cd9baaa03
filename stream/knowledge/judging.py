"""A refresh and the version before it, scored on the same held-out events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from indexing.histories import HistoryBatch
from indexing.vectors import VectorIndex
from models.quality import difference, hits_at, mrr, ranks_of, recall, reciprocal_ranks_at
from stream.knowledge.log import Log, rows_of
from stream.knowledge.snapshot import LONGEST_HISTORY, PER_SOURCE, Snapshot

K = 20
MOST_QUERIES_OF_ONE_USER = 50  # one busy client does not decide what is good for everybody
BATCH = 256
MOST_EXACT_QUERIES = 1_000  # the exact search of a million items costs 10 ms a query

Ranks = npt.NDArray[np.int64]


def compare(candidate: Snapshot, parent: Snapshot | None, log: Log, begin: int) -> dict[str, Any]:
    """Scores on the events of the log from `begin` on, each asked for with its user's history just before it.

    `candidate` must not have seen these events. Returns the parts `held_out`, `against_parent` and `index` of a report.
    """
    asked = _asked(log, begin)
    batch, targets = log.queries(asked, LONGEST_HISTORY), log.rows[asked]
    ours = ranks(candidate, batch, targets)
    popular = np.broadcast_to(candidate.trending.order[:K], (len(asked), min(K, len(candidate))))
    together, _ = candidate.covisitation.candidates(batch, K)
    held_out: dict[str, Any] = {
        "queries": len(asked),
        "candidate": scores(ours),
        "popular": scores(ranks_of(targets, popular)),
        "covisitation": scores(ranks_of(targets, together)),
    }
    against: dict[str, Any] = {}
    if parent is not None:
        rows = parent.vocabulary.lookup(candidate.vocabulary.ids)
        theirs = ranks(parent, replace(batch, rows=rows_of(rows, batch.rows)), rows[targets])
        held_out["parent"] = scores(theirs)
        against = {
            "recall@20": _gap(hits_at(ours, K), hits_at(theirs, K)),
            "mrr@20": _gap(reciprocal_ranks_at(ours, K), reciprocal_ranks_at(theirs, K)),
        }
    return {"held_out": held_out, "against_parent": against, "index": _index(candidate, batch, targets, ours)}


def ranks(snapshot: Snapshot, batch: HistoryBatch, targets: np.ndarray) -> Ranks:
    """The rank of each target in the snapshot's list of K for its history; 0 where it is missing."""
    found = [np.zeros(0, np.int64)]
    for at in range(0, len(batch), BATCH):
        part = batch.take(np.arange(at, min(at + BATCH, len(batch))))
        found.append(ranks_of(targets[at : at + BATCH], snapshot.rank(part, counts=K).rows()))
    return np.concatenate(found)


def scores(found: Ranks) -> dict[str, float]:
    """Recall@20 and MRR@20."""
    return {"recall@20": recall(found, K), "mrr@20": mrr(found, K)}


def not_finite(snapshot: Snapshot) -> list[str]:
    """Names of the snapshot's arrays that hold a value that is not finite."""
    arrays = {"item_vectors": snapshot.item_vectors, "counts": snapshot.counts}
    parts = {"encoder": snapshot.encoder.arrays(), "tower": snapshot.tower.arrays(), "ranker": snapshot.ranker.arrays()}
    for part, named in parts.items():
        arrays |= {f"{part}.{name}": array for name, array in named.items()}
    return [name for name, array in arrays.items() if not np.isfinite(array).all()]


def _asked(log: Log, begin: int) -> npt.NDArray[np.int64]:
    """Log positions of the queries from `begin` on, not too many of one user."""
    asked = np.flatnonzero(log.askable[begin:]) + begin
    order = np.argsort(log.users[asked], kind="stable")
    users = log.users[asked][order]
    nth = np.arange(len(users)) - np.searchsorted(users, users)
    return np.sort(asked[order[nth < MOST_QUERIES_OF_ONE_USER]])


def _gap(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> dict[str, float]:
    mean, error = difference(ours, theirs)
    return {"difference": mean, "standard_error": error if np.isfinite(error) else 1.0}


def _index(candidate: Snapshot, batch: HistoryBatch, targets: np.ndarray, ours: Ranks) -> dict[str, float]:
    """`recall` of the index against exact search, and what it `cost`s the lists in Recall@20."""
    if candidate.vectors.exact:
        return {"recall": 1.0, "cost": 0.0}
    vectors = np.nan_to_num(candidate.item_vectors)
    some = np.arange(min(len(batch), MOST_EXACT_QUERIES))
    batch, targets, ours = batch.take(some), targets[some], ours[some]
    users = candidate.encoder.encode(batch.rows, batch.types, batch.times, batch.starts, batch.now)
    exact = replace(candidate, vectors=VectorIndex.build(vectors, flat_below=len(vectors) + 1))
    return {
        "recall": candidate.vectors.recall(np.nan_to_num(users), PER_SOURCE, vectors),
        "cost": recall(ranks(exact, batch, targets), K) - recall(ours, K),
    }
