"""What a list costs: microseconds of CPU time by stage and batch size, over the clicks of a file or made-up ones.

    python tests/bench/lists.py yoochoose/ader_yoochoose_stream.csv.gz
    python tests/bench/lists.py --synthetic 1000000

Memories are built from all days but the last, which asks. Vectors, encoder and ranker have their real shapes and are
not trained: this measures time alone. Made-up clicks: three sessions for each item, of about five clicks near each
other in a made-up order of the items, well-known ones more often.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import pyarrow.csv

from indexing.candidates import feature_names
from indexing.habits import Habits
from indexing.histories import Interactions
from indexing.source import Source
from indexing.sources import source
from indexing.trending import Trending
from indexing.vectors import VectorIndex, one_thread
from indexing.wanted import Wanted
from models.encoder import HistoryEncoder
from models.network import initial_parameters
from models.ranker import HIDDEN, Ranker
from models.tower import ItemTower
from models.vocabulary import Vocabulary
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.serving import LivePopularity, Query, Serving
from stream.knowledge.snapshot import PER_SOURCE, Snapshot
from stream.settings import ModelSettings
from stream.wire.messages import Item

DAY = 86_400_000
ASKED = 4_096
TYPES = ("click", "cart", "purchase", "remove", "dislike")


def columns(path: str) -> tuple[Interactions, np.ndarray, int]:
    """Interactions of the file, each one's day, and the number of items; a day's rows spread evenly over it."""
    table = pyarrow.csv.read_csv(path)
    days = table["period"].to_numpy()
    _, items = np.unique(table["item_id"].to_numpy(), return_inverse=True)
    _, sessions = np.unique(table["session_id"].to_numpy(), return_inverse=True)
    per_day = np.bincount(days)
    within = (np.arange(len(days)) - (np.cumsum(per_day) - per_day)[days]) / per_day[days]
    return Interactions.of(sessions, items, DAY * (days + within), sessions=sessions), days, int(items.max()) + 1


def synthetic(count: int) -> tuple[Interactions, np.ndarray, int]:
    """The same of made-up clicks on so many items, over 17 days; the last day has as many as the file's."""
    rng, sessions = np.random.default_rng(5), 3 * count
    lengths = 2 + rng.geometric(0.3, sessions)
    owners = np.repeat(np.arange(sessions), lengths)
    around = (count * rng.random(sessions) ** 3)[owners]
    items = np.clip(around + rng.normal(0.0, 30.0, len(owners)), 0, count - 1).astype(np.int64)
    steps = np.arange(len(owners)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    begins = np.sort(rng.random(sessions) * 17 * DAY)
    times = begins[owners] + 20_000 * steps
    order = np.argsort(times, kind="stable")
    days = np.zeros(len(order), np.int64)
    days[-100_000:] = 16
    names = rng.permutation(count)  # neighbours in the order of clicks are none in memory
    clicks = owners[order], names[items[order]], times[order].astype(np.int64)
    return Interactions.of(*clicks, sessions=owners[order]), days, count


def part(interactions: Interactions, kept: np.ndarray) -> Interactions:
    """Some of the interactions."""
    return Interactions(*(column[kept] for column in vars(interactions).values()))


def snapshot_of(known: Interactions, count: int) -> Snapshot:
    """A snapshot with real memories and untrained models."""
    model, rng = ModelSettings(), np.random.default_rng(1)
    vectors = rng.normal(size=(count, model.dimensions)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    parameters = initial_parameters(
        dimensions=model.dimensions, heads=model.heads, length=model.length, inner=model.inner, types=len(TYPES), seed=1
    )
    width = len(feature_names(model.sources))
    ranker = {"mean": np.zeros(width), "scale": np.ones(width), "linear": rng.normal(size=width), "trained": np.ones(1)}
    ranker |= {"inner": rng.normal(size=(HIDDEN, width)), "bias": np.zeros(HIDDEN), "outer": rng.normal(size=HIDDEN)}
    tower = ItemTower(
        np.zeros((count, model.dimensions)), np.ones((64, model.dimensions)), np.zeros((48, model.dimensions)), 5
    )
    memories = {}
    for name in model.sources:
        began = time.perf_counter()
        memories[name] = source(name).build(known, count)
        print(f"{name} built in {time.perf_counter() - began:.1f} s")
    began = time.perf_counter()
    index = VectorIndex.build(vectors, seed=1)
    print(f"index built in {time.perf_counter() - began:.1f} s")
    counts = np.bincount(known.items, minlength=count).astype(np.float32)
    trending = Trending.build(known, count, int(known.times.max()))
    wanted = Wanted.build(known, count, len(TYPES), int(known.times.max()))
    names = Vocabulary(f"i{row}" for row in range(count))
    encoder = HistoryEncoder(parameters, vectors)
    return Snapshot(
        "bench", None, 1, names, vectors, counts, encoder, tower, index, memories, trending, wanted, Ranker(ranker),
        TYPES, (), np.ones(count, np.float32), Habits.build(known, count),
    )  # fmt: skip


def prefixes(interactions: Interactions) -> list[Query]:
    """The last 50 clicks of a session up to a click, for clicks evenly spread over the interactions."""
    chosen = set(np.linspace(0, len(interactions) - 1, ASKED).astype(int).tolist())
    histories: dict[int, list[tuple[str, int]]] = {}
    queries = []
    for at, (session, row, moment) in enumerate(
        zip(interactions.sessions, interactions.items, interactions.times, strict=True)
    ):
        history = histories.setdefault(int(session), [])
        history.append((f"i{row}", int(moment)))
        if at in chosen:
            names, times = zip(*history[-50:], strict=True)
            queries.append(Query(names, ("click",) * len(names), times, times[-1]))
    return queries


def asking(snapshot: Snapshot, memory: Source) -> Callable[[list[Query]], object]:
    """One memory's candidates for queries."""
    return lambda asked: memory.candidates(snapshot.histories(asked), PER_SOURCE)


def microseconds(call: Callable[[list[Query]], object], queries: list[Query], size: int) -> float:
    """Median over the batches of the time of one list."""
    batches = [queries[start : start + size] for start in range(0, min(len(queries), 300 * size) - size + 1, size)]
    call(batches[0])
    spent = []
    for batch in batches:
        began = time.thread_time()  # of one thread, so that what else runs on the machine disturbs less
        call(batch)
        spent.append(1e6 * (time.thread_time() - began) / size)
    return statistics.median(spent)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?")
    parser.add_argument("--synthetic", type=int, metavar="ITEMS")
    arguments = parser.parse_args()
    interactions, days, count = synthetic(arguments.synthetic) if arguments.synthetic else columns(arguments.file)
    snapshot = snapshot_of(part(interactions, days < days.max()), count)
    queries = prefixes(part(interactions, days == days.max()))
    catalogue = Catalogue()
    for offset, item_id in enumerate(snapshot.vocabulary.ids):
        catalogue.apply(0, offset, item_id, Item(item_id))
    serving = Serving(snapshot, catalogue, LivePopularity())
    began = time.perf_counter()
    serving.warm_up()
    print(f"warm in {time.perf_counter() - began:.1f} s")
    one_thread()
    histories = snapshot.histories

    def encode(asked: list[Query]) -> np.ndarray:
        batch = histories(asked)
        return snapshot.encoder.encode(batch.rows, batch.types, batch.times, batch.starts, batch.intents)

    stages: dict[str, Callable[[list[Query]], object]] = {
        "histories": histories,
        "+ encoder": encode,
        **{f"+ {name}": asking(snapshot, memory) for name, memory in snapshot.memories.items()},
        "+ encoder, ANN": lambda asked: snapshot.vectors.search(encode(asked), PER_SOURCE),
        "candidates": lambda asked: snapshot.candidates(histories(asked)),
        "ranked": lambda asked: snapshot.rank(histories(asked)),
        "recommend": serving.recommend,
        "written": lambda asked: serving.recommend(asked)[0].lists.texts(),
    }
    sizes = (256, 32, 1)
    print(f"{'us per list':18}" + "".join(f"{size:>9}" for size in sizes))
    for name, call in stages.items():
        print(f"{name:18}" + "".join(f"{microseconds(call, queries, size):9.1f}" for size in sizes))


if __name__ == "__main__":
    main()
