"""A refresh and the version before it, scored on the same held-out events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from indexing.histories import HistoryBatch
from indexing.vectors import VectorIndex
from models.quality import difference, hits_at, mrr, ranks_of, recall, reciprocal_ranks_at
from stream.knowledge.log import MOST_QUERIES_OF_ONE_USER, Log
from stream.knowledge.snapshot import LONGEST_HISTORY, PER_SOURCE, Snapshot
from stream.knowledge.threads import together
from stream.wire.event_types import PURCHASE

K = 20
BATCH = 256
MOST_EXACT_QUERIES = 1_000
MOST_EXACT_SCORES = 200_000_000  # of items for these queries: the exact search of a million items costs 10 ms a query
FEWEST_EXACT_QUERIES = 100
RECALL_QUERIES = 200

Ranks = npt.NDArray[np.int64]


class Questions(NamedTuple):
    """What a refresh is judged by: histories and, for each, the row that came next (Q,)."""

    batch: HistoryBatch
    targets: npt.NDArray[np.int32]


def questions(candidate: Snapshot, log: Log, begin: int, intent: str | None) -> Questions:
    """The events of the log from `begin` on, each asked for with its user's history just before it.

    All are asked with one `intent`, as lists for events are: what kind of event comes next is not known before it has
    come.
    """
    asked = _asked(log, begin)
    intents = np.full(len(asked), candidate.intent_code(intent), np.int8)
    purchase = candidate.type_codes.get(PURCHASE, -1)
    return Questions(log.queries(asked, LONGEST_HISTORY, intents, purchase), log.rows[asked])


def judged(
    candidate: Snapshot, parent: Snapshot | None, asked: Questions, tolerance: float
) -> tuple[VectorIndex, dict[str, Any]]:
    """The index for the candidate and scores on questions that the candidate has not seen the answers of.

    The index costs the candidate's lists no more than `tolerance`, looking into more lists if it must; one that finds
    little however wide it looks stays as it was built. The scores are the parts `index`, `held_out` and
    `against_parent` of a report; `against_popular` in place of `against_parent` where there is no parent.
    """
    (index, ours, costs), theirs = together(
        lambda: _search_widely(candidate, asked, tolerance), lambda: _parents(candidate, parent, asked)
    )
    batch, targets = asked
    most = np.broadcast_to(candidate.trending.order[:K], (len(targets), min(K, len(candidate))))
    popular = ranks_of(targets, most)
    nearby, _ = candidate.covisitation.candidates(batch, K)
    held_out: dict[str, Any] = {
        "queries": len(targets),
        "candidate": scores(ours),
        "popular": scores(popular),
        "covisitation": scores(ranks_of(targets, nearby)),
    }
    against: dict[str, Any] = {"against_popular": _gaps(ours, popular)}
    if theirs is not None:
        held_out["parent"] = scores(theirs)
        against = {"against_parent": _gaps(ours, theirs)}
    return index, {"index": costs, "held_out": held_out, **against}


def _search_widely(
    candidate: Snapshot, asked: Questions, tolerance: float
) -> tuple[VectorIndex, Ranks, dict[str, float]]:
    """The index, the candidate's ranks with it, and the part `index` of a report.

    `recall` of the index against exact search, what it `cost`s the lists in Recall@20, and the lists that it `probes`.
    """
    batch, targets = asked
    index, ours = candidate.vectors, ranks(candidate, batch, targets)
    if index.exact:
        return index, ours, {"recall": 1.0, "cost": 0.0, "probes": 0}
    most = min(max(MOST_EXACT_SCORES // len(candidate), FEWEST_EXACT_QUERIES), MOST_EXACT_QUERIES)
    some = np.arange(min(len(batch), most))
    vectors = np.nan_to_num(candidate.item_vectors)
    exact = replace(candidate, vectors=VectorIndex.build(vectors, flat_below=len(vectors) + 1))
    hits = hits_at(ranks(exact, batch.take(some), targets[some]), K).sum()
    while True:
        lost = float(hits - hits_at(ours[some], K).sum())
        wider = None if lost <= tolerance * len(some) else index.wider()
        if wider is None:
            break
        index = wider
        ours = ranks(replace(candidate, vectors=index), batch, targets)
    few = batch.take(some[:RECALL_QUERIES])
    users = candidate.encoder.encode(few.rows, few.types, few.times, few.starts, few.intents)
    recalled = index.recall(np.nan_to_num(users), PER_SOURCE, exact.vectors)
    return index, ours, {"recall": recalled, "cost": lost / max(len(some), 1), "probes": index.probes}


def _parents(candidate: Snapshot, parent: Snapshot | None, asked: Questions) -> Ranks | None:
    if parent is None:
        return None
    rows = parent.vocabulary.lookup(candidate.vocabulary.ids)
    return ranks(parent, asked.batch.renumbered(rows), rows[asked.targets])


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


def _gaps(ours: Ranks, theirs: Ranks) -> dict[str, dict[str, float]]:
    return {
        "recall@20": _gap(hits_at(ours, K), hits_at(theirs, K)),
        "mrr@20": _gap(reciprocal_ranks_at(ours, K), reciprocal_ranks_at(theirs, K)),
    }


def _gap(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> dict[str, float]:
    mean, error = difference(ours, theirs)
    return {"difference": mean, "standard_error": error if np.isfinite(error) else 1.0}
