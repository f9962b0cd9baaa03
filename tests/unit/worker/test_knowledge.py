"""What a worker knows: one version after the other, the one before given back."""

from __future__ import annotations

import asyncio
import gc
import weakref
from threading import Event

import faiss
import numpy as np
import pytest

from stream.knowledge.freeing import parts_of
from stream.knowledge.serving import Serving
from stream.knowledge.snapshot import Snapshot
from stream.settings import Settings
from stream.worker.knowledge import CAUGHT_UP, Knowledge
from tests.worlds import item, random_sessions, small_snapshot


def test_lists_are_made_without_helpers_of_faiss() -> None:
    """FAISS counts threads for each thread that calls it: with two of them a dozen lists took three times as long."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    try:
        knowledge = Knowledge(Settings(), lambda: 0.0)
        asyncio.run(knowledge.swap(small_snapshot(random_sessions(50, 100, seed=1), 50)))
        assert faiss.omp_get_max_threads() == 1
    finally:
        faiss.omp_set_num_threads(before)


def test_the_arrays_of_a_version_are_gone_after_the_next_one_serves() -> None:
    """Its large arrays are found whatever part they belong to, and nothing keeps them once another version serves."""
    knowledge = Knowledge(Settings(), lambda: 0.0)
    knowledge.apply_item(0, 0, "new", item(1, 5, item_id="new"))
    first, second = (small_snapshot(random_sessions(50, 100, seed=seed), 50) for seed in (1, 2))
    asyncio.run(knowledge.swap(first))
    held = parts_of(knowledge.serving)
    found = {id(part) for part in held if isinstance(part, np.ndarray)}
    assert [name for part in held if isinstance(part, list) for name in part] == first.vocabulary.ids
    parts = [first.item_vectors, first.counts, first.tower.identities, first.trending.counts, first.wanted.counts]
    parts += [array for memory in first.memories.values() for array in memory.arrays().values()]
    assert {id(array) for array in parts} <= found
    vectors = weakref.ref(first.item_vectors)
    del first, parts, held
    asyncio.run(knowledge.swap(second))
    assert knowledge.serving.snapshot is second
    gc.collect()  # an exception's traceback may hold on to frames
    assert vectors() is None


def test_what_comes_while_a_version_is_made_counts_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Items that arrive and change after a swap has read the catalogue are what the new version answers from."""
    knowledge = Knowledge(Settings(), lambda: 0.0)
    made, came = Event(), Event()
    make = knowledge._make

    def wait_for_masses(snapshot: Snapshot | None) -> Serving:
        serving = make(snapshot)
        made.set()
        came.wait()
        return serving

    async def swap() -> None:
        monkeypatch.setattr(knowledge, "_make", wait_for_masses)
        swapping = asyncio.create_task(knowledge.swap(small_snapshot(random_sessions(50, 100, seed=1), 50)))
        await asyncio.to_thread(made.wait)
        for number in range(3 * CAUGHT_UP):
            knowledge.apply_item(0, number, f"new{number}", item(1, 5, item_id=f"new{number}"))
        knowledge.apply_item(0, 3 * CAUGHT_UP, "new1", None)
        came.set()
        await swapping

    asyncio.run(swap())
    items = knowledge.serving.items
    assert items.newer == [f"new{number}" for number in range(3 * CAUGHT_UP)]
    assert [name for name in items.newer if not items.available[items.row(name)]] == ["new1"]
