"""What a refresh costs, stage by stage: wall and CPU seconds, median over several refreshes.

    python -m tests.bench.refresh yoochoose/ader_yoochoose_stream.csv.gz
    python -m tests.bench.refresh synthetic --items 40000

The window is filled, a first artifact made, then one refresh after the other, each over `--new` more events: learned,
judged, written, read back, and loaded as a worker does. What stands further in is a part of what stands above it.
CPU seconds are those of the whole process: of two stages at the same time (ranker and training, memories and index)
each counts what the other spends, too.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow.csv

from stream.knowledge import learning
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.gate import judge
from stream.knowledge.learner import Learner
from stream.knowledge.learning import Learned, learn
from stream.knowledge.log import Log
from stream.knowledge.popularity import LivePopularity
from stream.knowledge.serving import Serving
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.store import ArtifactStore
from stream.knowledge.threads import use_threads
from stream.knowledge.window import Window
from stream.settings import ModelSettings, Settings
from stream.trainer import building
from stream.trainer.building import catalogue_position, draft_manifest, event_window
from stream.wire.messages import Item

DAY = 86_400_000
BEGIN = 1_396_310_400_000

STAGES: tuple[tuple[object, str, str], ...] = (
    (learning, "next_vocabulary", "  vocabulary"),
    (Catalogue, "features", "  features"),
    (Log, "of", "  log"),
    (Learner, "rank", "  ranker"),
    (Learner, "fit", "  training"),
    (Learner, "index", "  index"),
    (Learner, "count", "  memories"),
    (learning, "questions", "  judging"),
    (learning, "judged", "  judging"),
    (building, "write_snapshot", "  writing"),
    (building, "seal", "  sealing"),
    (ArtifactStore, "publish", "  renaming"),
    (ArtifactStore, "verify", "  reading back"),
)


class Click(NamedTuple):
    """One event of the log."""

    user: str
    item: str
    time: int


class Clock:
    """Wall and CPU seconds of named stages, one after the other or one inside another."""

    def __init__(self) -> None:
        self.spent: list[dict[str, tuple[float, float]]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times the block."""
        wall, cpu = time.perf_counter(), time.process_time()
        spent = self.spent[-1]
        before = spent.setdefault(name, (0.0, 0.0))
        try:
            yield
        finally:
            spent[name] = before[0] + time.perf_counter() - wall, before[1] + time.process_time() - cpu

    def watch(self, owner: object, attribute: str, name: str) -> None:
        """Times every call of a function from now on."""
        inner = getattr(owner, attribute)

        def timed(*arguments: object, **named: object) -> object:
            with self.stage(name):
                return inner(*arguments, **named)

        setattr(owner, attribute, staticmethod(timed) if owner is Log else timed)


def clicks_of(path: str) -> Iterator[Click]:
    """The clicks of a file of periods, sessions and items; a period's rows are spread evenly over a day."""
    table = pyarrow.csv.read_csv(path)
    days = table["period"].to_numpy()
    per_day = np.bincount(days)
    within = (np.arange(len(days)) - (np.cumsum(per_day) - per_day)[days]) / per_day[days]
    times = (BEGIN + DAY * (days + within)).astype(np.int64).tolist()
    sessions, items = table["session_id"].to_pylist(), table["item_id"].to_pylist()
    return (Click(f"u{user}", str(item), moment) for user, item, moment in zip(sessions, items, times, strict=True))


def made_up(items: int, seed: int = 1) -> Iterator[Click]:
    """Clicks on so many items, some far more popular than others; what stands near in number is visited together."""
    rng, number, moment = np.random.default_rng(seed), 0, BEGIN
    while True:
        centres = (items * rng.random(4_096) ** 2).astype(np.int64)
        lengths = 2 + rng.poisson(2.5, len(centres))
        for centre, length in zip(centres.tolist(), lengths.tolist(), strict=True):
            number += 1
            for step in (centre + rng.integers(-8, 9, length)).tolist():
                moment += 400
                yield Click(f"u{number}", f"i{step % items}", moment)


def described(items: int) -> Catalogue:
    """A catalogue of made-up items, all with words, a category, a brand and a price."""
    catalogue, rng = Catalogue(), np.random.default_rng(2)
    words = (3_000 * rng.random((items, 5)) ** 2).astype(np.int64).tolist()
    for row in range(items):
        title = " ".join(f"word{word}" for word in (row // 20, *words[row]))
        item = Item(f"i{row}", title=title, category=["all", f"c{row // 400}"], brand=f"b{row % 97}", price=row % 500)
        catalogue.apply(0, row, item.item_id, item)
    return catalogue


class Chain:
    """One artifact after the other, as a trainer makes them, over a window of `size` events, `new` of them new."""

    def __init__(self, name: str, model: ModelSettings, catalogue: Catalogue, size: int, new: int) -> None:
        self.name, self.model, self.catalogue = name, model, catalogue
        self.settings = msgspec.structs.replace(Settings(), model=model)
        self.window, self.recent = Window(self.settings.event_types().names), deque[Click](maxlen=size)
        self.size, self.new, self.offset = size, new, 0
        self.snapshot: Snapshot | None = None

    def take(self, clicks: list[Click]) -> None:
        """Events arrive."""
        self.recent.extend(clicks)
        for click in clicks:
            self.window.append(click.user, click.item, "click", click.time, None, 0, self.offset)
            self.offset += 1
        self.window.trim(self.size)

    def learn(self) -> Learned:
        """The next version, not yet the chain's own."""
        return learn(
            self.window,
            self.catalogue,
            self.snapshot,
            artifact_id=f"{self.name}-{self.offset}",
            event_types=self.settings.event_types(),
            model=self.model,
            seed=7,
            new_events=len(self.window) if self.snapshot is None else self.new,
            intent=self.settings.intent(),
        )

    def refresh(self, store: ArtifactStore, clock: Clock, created: int) -> Learned:
        """Learns, judges, publishes, and loads as a worker does."""
        with clock.stage("refresh"):
            window = event_window(self.window, {0: self.offset}, self.settings)
            with clock.stage(" learning"):
                learned = self.learn()
            judge(learned.report, self.model)
            draft = draft_manifest(learned, window, catalogue_position({0: 0}, self.settings), self.settings)
            with clock.stage(" publishing"):
                published = building.publish(
                    store, learned.snapshot, self.catalogue, draft, created=created, progress=lambda *_: None
                )
        with clock.stage("worker"):
            with clock.stage(" opening"):
                opened = store.open(published.manifest.id, published.manifest_sha256)
            with clock.stage(" warming up"):
                Serving(opened, self.catalogue, LivePopularity()).warm_up()
        self.snapshot = published.snapshot
        return learned


def source_of(options: argparse.Namespace) -> tuple[Iterator[Click], Catalogue]:
    """Clicks and what is known of their items."""
    if options.file == "synthetic":
        return made_up(options.items), described(options.items)
    return islice(clicks_of(options.file), options.skip, None), Catalogue()


def with_settings(changes: str) -> ModelSettings:
    """The usual settings with some changed, as in `epochs=1,visits=20000`."""
    pairs = (part.split("=") for part in changes.split(",") if part)
    return msgspec.structs.replace(ModelSettings(), **{name: msgspec.json.decode(value) for name, value in pairs})


def arguments() -> argparse.ArgumentParser:
    """What this benchmark can be told."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="the clicks, or `synthetic`")
    parser.add_argument("--items", type=int, default=40_000, help="of a synthetic catalogue")
    parser.add_argument("--window", type=int, default=400_000)
    parser.add_argument("--new", type=int, default=10_000)
    parser.add_argument("--skip", type=int, default=0, help="clicks of the file to begin after")
    parser.add_argument("--refreshes", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", default="", help="model settings, as epochs=1,visits=20000")
    return parser


def tell(spent: list[dict[str, tuple[float, float]]]) -> None:
    """Medians over the refreshes."""
    print(f"{f'median of {len(spent)} refreshes':20}{'wall s':>9}{'CPU s':>9}")
    for stage in spent[-1]:
        wall, cpu = (statistics.median(found.get(stage, (0.0, 0.0))[place] for found in spent) for place in (0, 1))
        print(f"{stage:20}{wall:9.3f}{cpu:9.3f}")


def main(options: argparse.Namespace) -> None:
    """Makes the refreshes and prints the table."""
    use_threads(options.threads)
    clicks, catalogue = source_of(options)
    chain, clock = Chain("a", with_settings(options.set), catalogue, options.window, options.new), Clock()
    for owner, attribute, name in STAGES:
        clock.watch(owner, attribute, name)
    with tempfile.TemporaryDirectory() as directory:
        store = ArtifactStore(directory, directory)
        for number in range(options.refreshes + 1):
            arrived = list(islice(clicks, options.new if number else options.window))
            clock.spent.append({})
            with clock.stage("window"):
                chain.take(arrived)
            learned = chain.refresh(store, clock, BEGIN + 1_000 * number)
            held_out, spent = learned.report["held_out"], clock.spent[-1]
            print(
                f"{number:3} {learned.report['items']:7} items  refresh {spent['refresh'][0]:6.2f} s  worker "
                f"{spent['worker'][0]:5.2f} s  held out {held_out['candidate']['recall@20']:.4f}",
                flush=True,
            )
    tell(clock.spent[2:])  # the first one after the first artifact still compiles


if __name__ == "__main__":
    main(arguments().parse_args())
