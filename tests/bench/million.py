"""A catalogue of a million items: what a worker does with it, and how long its event loop stands still meanwhile.

    python -m tests.bench.million
    python -m tests.bench.million --items 100000 --sessions 300000

Memories are built from made-up sessions; vectors lie in clusters and encoder and ranker have their real shapes, none of
them trained: this measures time and memory alone. The longest pause is that of a task which wants to run every
millisecond; the baseline says what it is with nothing else to do.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from indexing.candidates import feature_names
from indexing.habits import Habits
from indexing.histories import Floats, Interactions
from indexing.source import Contents
from indexing.sources import source
from indexing.trending import Trending
from indexing.vectors import VectorIndex
from indexing.wanted import Wanted
from models.encoder import HistoryEncoder
from models.network import initial_parameters
from models.ranker import HIDDEN, Ranker
from models.tower import ItemTower
from models.vocabulary import Vocabulary
from stream.knowledge.learning import Learned
from stream.knowledge.manifest import CataloguePosition, EventWindow
from stream.knowledge.serving import Query
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.store import ArtifactStore
from stream.knowledge.threads import use_threads
from stream.settings import ModelSettings, Settings
from stream.trainer.building import draft_manifest, publish
from stream.wire.messages import Item
from stream.worker.knowledge import Knowledge

MODEL = ModelSettings()
TYPES = Settings().event_types().names
BEGIN = 1_396_310_400_000
DAY = 86_400_000
BURST = 10_000


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Prints what the block took."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{what:44}{wall:9.3f} s wall{cpu:9.3f} s CPU   peak {memory:5.2f} GiB", flush=True)


def item(row: int) -> Item:
    """A made-up item with words, a category, a brand and a price."""
    title = f"thing {row % 9_973} of kind {row % 389} no {row}"
    return Item(f"i{row}", title=title, category=["all", f"c{row % 499}"], brand=f"b{row % 97}", price=1.0 + row % 500)


def visits(items: int, sessions: int) -> Interactions:
    """Sessions of about three clicks on items near each other in number, some far more popular than others."""
    rng = np.random.default_rng(1)
    lengths = 2 + rng.poisson(1.0, sessions)
    owners = np.repeat(np.arange(sessions), lengths)
    centres = (items * rng.random(sessions) ** 2).astype(np.int64)
    rows = (centres[owners] + rng.integers(-8, 9, len(owners))) % items
    times = BEGIN + np.linspace(0, 30 * DAY, len(owners)).astype(np.int64)
    return Interactions.of(owners, rows, times, sessions=owners)


def clustered(items: int) -> Floats:
    """Normalised vectors around centres, as learned ones are."""
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(max(items // 200, 1), MODEL.dimensions)).astype(np.float32)
    vectors = centres[rng.integers(0, len(centres), items)]
    vectors += 0.5 * rng.normal(size=vectors.shape).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def snapshot_of(known: Interactions, vectors: Floats, contents: Contents) -> Snapshot:
    """A snapshot with real memories and untrained models."""
    items, rng = len(vectors), np.random.default_rng(3)
    with timed("index built"):
        index = VectorIndex.build(vectors, seed=1)
    memories = {}
    for name in MODEL.sources:
        with timed(f"{name} built"):
            memories[name] = source(name).build(known, items, contents)
    parameters = initial_parameters(
        dimensions=MODEL.dimensions, heads=MODEL.heads, length=MODEL.length, inner=MODEL.inner, types=len(TYPES), seed=1
    )
    width = len(feature_names(MODEL.sources))
    ranker = {"mean": np.zeros(width), "scale": np.ones(width), "linear": rng.normal(size=width), "trained": np.ones(1)}
    ranker |= {"inner": rng.normal(size=(HIDDEN, width)), "bias": np.zeros(HIDDEN), "outer": rng.normal(size=HIDDEN)}
    tokens = rng.normal(size=(MODEL.token_buckets, MODEL.dimensions)).astype(np.float32)
    tower = ItemTower(vectors, tokens, np.zeros((48, MODEL.dimensions)), 5)
    now = int(known.times.max())
    with timed("trending, wanted, habits built"):
        counted = (
            Trending.build(known, items, now),
            Wanted.build(known, items, len(TYPES), now),
            Habits.build(known, items),
        )
    trending, wanted, habits = counted
    counts = np.bincount(known.items, minlength=items).astype(np.float32)
    return Snapshot(
        "bench", None, 1, Vocabulary(f"i{row}" for row in range(items)), vectors, counts,
        HistoryEncoder(parameters, vectors), tower, index, memories, trending, wanted, Ranker(ranker),
        TYPES, (), np.ones(items, np.float32), habits,
    )  # fmt: skip


class Pauses:
    """The longest time for which a task that wants to run every millisecond could not."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self.longest, before = max(self.longest, now - before - 0.001), now


async def watched(what: str, work: Awaitable[object]) -> object:
    """Does the work, and prints how long it took and the longest pause of the loop meanwhile."""
    pauses = Pauses()
    ticking = asyncio.create_task(pauses.run())
    with timed(what):
        result = await work
        await asyncio.sleep(0.002)
    ticking.cancel()
    print(f"{'':8}longest pause of the loop {1e3 * pauses.longest:9.1f} ms", flush=True)
    return result


async def serve(store: ArtifactStore, artifact: str, items: int) -> None:
    """A worker's knowledge: the catalogue, the artifact opened and swapped in twice, new items, lists."""
    knowledge = Knowledge(Settings(), time.monotonic)
    with timed("catalogue followed"):
        for row in range(items):
            knowledge.apply_item(0, row, f"i{row}", item(row))
    await watched("nothing (baseline)", asyncio.sleep(3))
    for turn in ("first", "second"):
        snapshot = await watched(f"artifact opened, {turn} time", asyncio.to_thread(store.open, artifact))
        assert isinstance(snapshot, Snapshot)
        await watched(f"artifact swapped in, {turn} time", knowledge.swap(snapshot))
    query = Query(["i1", "i7"], ["click", "click"], [0, 1], 1)
    knowledge.serving.recommend([query])
    with timed("a list"):
        knowledge.serving.recommend([query])
    for count in (1, 1, 100, BURST):
        news = [msgspec.structs.replace(item(row), item_id=f"new{count}-{row}") for row in range(count)]
        with timed(f"{count} new items applied"):
            for offset, new in enumerate(news):
                knowledge.apply_item(1, offset, new.item_id, new)
        with timed("  and the list after them"):
            knowledge.serving.recommend([query])
    assert knowledge.serving.cold_items == BURST + 101


def main(options: argparse.Namespace) -> None:
    """Builds, publishes and serves."""
    vectors, known = clustered(options.items), visits(options.items, options.sessions)
    print(f"{options.items} items, {options.sessions} sessions, {len(known)} events")
    knowledge = Knowledge(Settings(), time.monotonic)
    use_threads(2)  # knowledge, a worker's, keeps to one
    for row in range(options.items):
        knowledge.catalogue.apply(0, row, f"i{row}", item(row))
    names = [f"i{row}" for row in range(options.items)]
    with timed("features read"):
        features = knowledge.catalogue.features(names, MODEL.token_buckets)
    with timed("features read again"):
        knowledge.catalogue.features(names, MODEL.token_buckets)
    snapshot = snapshot_of(known, vectors, Contents(features.tokens, features.starts))
    draft = draft_manifest(
        Learned(snapshot, {}), EventWindow("events", 0, {}), CataloguePosition("items", {}), Settings()
    )
    with tempfile.TemporaryDirectory() as directory:
        store = ArtifactStore(directory, directory)
        with timed("published: written, hashed, read back"):
            published = publish(store, snapshot, knowledge.catalogue, draft, created=BEGIN, progress=lambda *_: None)
        for file in sorted((Path(directory) / published.manifest.id).iterdir()):
            print(f"{'':8}{file.name:24}{file.stat().st_size / 2**20:10.1f} MiB")
        artifact = published.manifest.id
        del snapshot, published, draft, known, vectors, knowledge, features
        asyncio.run(serve(store, artifact, options.items))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--sessions", type=int, default=3_000_000)
    main(parser.parse_args())
