"""Compiles the kernels ahead of their first use."""

from __future__ import annotations

import numpy as np

from indexing.candidates import Found, SourceNames, kinds_of, union
from indexing.habits import Habits
from indexing.histories import HistoryBatch, Interactions
from indexing.item_facts import ItemFacts
from indexing.list_text import place, write
from indexing.lists import best_of_lists, explorable
from indexing.owned import bought_before, to_buy_again
from indexing.source import Contents
from indexing.sources import names, source
from indexing.sources.covisitation import Covisitation
from indexing.trending import Trending
from indexing.vectors import VectorIndex, nearest_of
from indexing.wanted import Wanted


def compile_kernels() -> None:
    """Runs every kernel once over two items: some ten seconds where nothing is cached on disk yet."""
    interactions = Interactions.of([0, 0], [0, 1], [0, 1])
    batch = HistoryBatch.of([[0, 1]], owned=[[0]])
    vectors, everything, keys = np.eye(2, dtype=np.float32), np.ones(2, np.bool_), np.arange(2)
    bought_before(batch.rows, everything, batch.starts[:1], batch.starts[1:])
    users = vectors[:1].copy()
    trending = Trending.build(interactions, 2, 1)
    contents = Contents(np.array([0, 1], np.int32), np.array([0, 1, 2]))
    candidates = union(
        batch,
        kinds_of(("click",), ()),
        users,
        memories=[Found(*source(name).build(interactions, 2, contents).candidates(batch, 2)) for name in names()],
        ann=Found(*VectorIndex.build(vectors).search(users, 2)),
        again=to_buy_again(batch, everything),
        new=Found(*nearest_of(users, vectors, keys, available=everything, keys=keys, k=1)),
        trending=trending.top(2),
        vectors=vectors,
        facts=ItemFacts(
            trending.popularity(),
            np.ones(2, np.float32),
            trending.first_seen,
            Wanted.build(interactions, 2, 1, 1).facts,
            Covisitation.build(interactions, 2),
            Habits.build(interactions, 2).facts,
        ),
        available=everything,
    )
    positions, counts = np.zeros((1, 1), np.int64), np.ones(1, np.int64)
    scores, cold = np.zeros(len(candidates.rows), np.float32), np.zeros(len(candidates.rows), np.bool_)
    explorable(candidates.rows, candidates.starts, np.ones(3, np.bool_), candidates.features, 0, cold, counts > 1)
    cold.fill(False)
    lots, result = np.zeros(1, np.uint64), (positions, np.zeros((1, 1), np.float32), counts.copy())
    keys = keys[candidates.rows]
    best_of_lists(keys, scores, candidates.starts, counts, cold, 0, lots, candidates.sources, result)
    columns = candidates.rows.copy(), np.zeros(1), candidates.sources.copy(), np.zeros(1)
    lists = (*(column[:1].reshape(1, 1) for column in columns), counts)
    place(positions, (candidates.rows, scores, candidates.sources), result[1], counts - 1, lists)
    texts = np.zeros(2, np.uint8), np.arange(3), everything
    write(lists, texts[:2], texts[2], SourceNames(()).texts)
