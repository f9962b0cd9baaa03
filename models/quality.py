"""How good lists are: pure functions of ranks. A rank is 1 for the first place of a list, 0 for a target not in it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ranks = npt.NDArray[np.int64]


def ranks_of(targets: np.ndarray, lists: np.ndarray) -> Ranks:
    """The rank (Q,) of each target (Q,) in its list (Q, K); 0 where it is missing. A target below 0 is in no list.

    >>> ranks_of(np.array([7, 5, -1]), np.array([[3, 7], [1, 2], [-1, -1]])).tolist()
    [2, 0, 0]
    """
    if lists.shape[1] == 0:
        return np.zeros(len(targets), np.int64)
    hits = (lists == targets[:, None]) & (targets[:, None] >= 0)
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0).astype(np.int64)


def exact_ranks(users: np.ndarray, vectors: np.ndarray, targets: np.ndarray) -> Ranks:
    """The rank (Q,) of each target row (Q,) among all items (N, D) by inner product with its user vector (Q, D).

    An item that scores as high as the target counts as before it; a target whose score is no number has rank 0.
    """
    found = [np.zeros(0, np.int64)]
    for at in range(0, len(users), 256):
        scores = users[at : at + 256] @ vectors.T
        own = scores[np.arange(len(scores)), targets[at : at + 256]]
        found.append((scores >= own[:, None]).sum(axis=1))
    return np.concatenate(found)


def hits_at(ranks: np.ndarray, k: int) -> npt.NDArray[np.float64]:
    """1 for each query whose target is among the first k, else 0."""
    return ((ranks >= 1) & (ranks <= k)).astype(np.float64)


def reciprocal_ranks_at(ranks: np.ndarray, k: int) -> npt.NDArray[np.float64]:
    """1 / rank for each query whose target is among the first k, else 0."""
    return np.asarray(hits_at(ranks, k) / np.maximum(ranks, 1), np.float64)


def gains_at(ranks: np.ndarray, k: int) -> npt.NDArray[np.float64]:
    """1 / log2(1 + rank) for each query whose target is among the first k, else 0.

    With one right item a query the ideal gain is 1, so the mean of these is NDCG (Järvelin and Kekäläinen, TOIS 2002).
    """
    return np.asarray(hits_at(ranks, k) / np.log2(1.0 + np.maximum(ranks, 1)), np.float64)


def recall(ranks: np.ndarray, k: int) -> float:
    """Share of the queries whose target is among the first k (with one target a query also called hit rate).

    >>> recall(np.array([1, 4, 0, 2]), 2)
    0.5
    """
    return _mean(hits_at(ranks, k))


def mrr(ranks: np.ndarray, k: int) -> float:
    """Mean reciprocal rank among the first k.

    >>> mrr(np.array([1, 4, 0, 2]), 20)
    0.4375
    """
    return _mean(reciprocal_ranks_at(ranks, k))


def ndcg(ranks: np.ndarray, k: int) -> float:
    """Normalised discounted cumulative gain among the first k.

    >>> ndcg(np.array([1, 3, 0, 0]), 20)
    0.375
    """
    return _mean(gains_at(ranks, k))


def coverage(lists: np.ndarray, items: int) -> float:
    """Share of `items` items that stand in at least one list (Q, K); -1 is padding.

    >>> coverage(np.array([[0, 1], [1, -1]]), 8)
    0.25
    """
    shown = np.unique(lists)
    return float((shown >= 0).sum() / items) if items else 0.0


def difference(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """Mean of ours - theirs over the same queries and its standard error (paired); error infinite below two queries.

    >>> difference(np.array([1.0, 0.0, 1.0, 1.0]), np.array([0.0, 0.0, 1.0, 0.0]))[0]
    0.5
    """
    gaps = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    if len(gaps) < 2:
        return _mean(gaps), float("inf")
    return _mean(gaps), float(gaps.std(ddof=1) / np.sqrt(len(gaps)))


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0
