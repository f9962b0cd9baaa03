"""Compiles the kernels ahead of their first use."""

from __future__ import annotations

import numpy as np

from indexing import kernels
from indexing.candidates import Found, ItemFacts, kinds_of, union
from indexing.covisitation import Covisitation
from indexing.histories import HistoryBatch, Interactions
from indexing.sessions import SessionNeighbours
from indexing.trending import Trending
from indexing.vectors import nearest_new


def compile_kernels() -> None:
    """Runs every kernel once over two items: some ten seconds where nothing is cached on disk yet."""
    interactions = Interactions.of([0, 0], [0, 1], [0, 1])
    batch = HistoryBatch.of([[0, 1]])
    vectors, everything, keys = np.eye(2, dtype=np.float32), np.ones(2, np.bool_), np.arange(2)
    users = vectors[:1].copy()
    trending = Trending.build(interactions, 2, 1)
    candidates = union(
        batch,
        kinds_of(("click",)),
        users,
        sessions=Found(*SessionNeighbours.build(interactions, 2).candidates(batch, 2)),
        covisitation=Found(*Covisitation.build(interactions, 2).candidates(batch, 2)),
        ann=Found.nothing(1),
        new=Found(*nearest_new(users, vectors, first=1, available=everything, keys=keys, k=1)),
        trending=trending.top(2),
        facts=ItemFacts(vectors, trending.popularity(), np.ones(2, np.float32), trending.first_seen),
        available=everything,
    )
    positions, counts = np.zeros((1, 1), np.int64), np.ones(1, np.int64)
    scores, reserved = np.zeros(len(candidates.rows), np.float32), np.zeros(len(candidates.rows), np.bool_)
    kernels.best_of_lists(keys[candidates.rows], scores, candidates.starts, counts, reserved, 0, positions)
