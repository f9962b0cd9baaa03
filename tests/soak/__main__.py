"""Breaks workers, network and broker for long, or fast, and prints a report in Markdown.

    python -m tests.soak --minutes 60           # a fault each 2.7 s: more than a thousand
    python -m tests.soak --faults 200 --pause 2 # in less than ten minutes

With `--trainer` a real trainer learns from what comes and publishes meanwhile. `--spare` keeps worker 0 from being
killed, so that its memory and open files can be watched; it goes through everything else.
"""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream.shop.children import end, spawn
from tests.crash.breaking import WEIGHTS, Told, shatter
from tests.crash.group import Group, running_group
from tests.soak.report import report
from tests.soak.sampling import Sampler

REFRESH_SECONDS = "60"


def main() -> int:
    """Runs and reports; the exit status is 1 if anything was lost, doubled or wrong."""
    options = _options()
    directory = options.directory or Path(tempfile.mkdtemp(prefix="soak-"))
    directory.mkdir(parents=True, exist_ok=True)
    seed, workers = options.seed, options.workers
    with running_group(directory, f"s{seed}.", workers=workers, seed=seed, rate=options.rate) as group:
        group.places[0].spared = options.spare
        with _trainer(group, options.trainer):
            group.load.users, group.load.newcomers = options.users, options.newcomers
            group.load.new_items = options.new_items
            group.load.stock(options.items)
            group.load.start()
            group.wait_until_ready()
            sampler = Sampler(group)
            told = shatter(
                group,
                random.Random(seed),
                enough=lambda told: _enough(told, options),
                pause=options.pause,
                checkpoint=options.checkpoint,
                weights=_weights(options.weights),
                each_turn=sampler.turn,
            )
            group.load.finish()
        page = report(shlex.join(["python", "-m", "tests.soak", *sys.argv[1:]]), told, group, sampler)
    sys.stdout.write(page + "\n")
    if options.report is not None:
        options.report.write_text(page + "\n", "utf-8")
    return 1 if told.problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=150, help="records a second")
    parser.add_argument("--users", type=int, default=60, help="who come again and again")
    parser.add_argument("--newcomers", type=float, default=0.3, help="share of events of users who come once")
    parser.add_argument("--items", type=int, default=30, help="in the catalogue before the first event")
    parser.add_argument("--new-items", type=float, default=0.01, help="share of records that are items not seen before")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--faults", type=int, default=1_000_000, help="end after so many, if that is earlier")
    parser.add_argument("--pause", type=float, default=2.7, help="seconds from fault to fault, on average")
    parser.add_argument("--checkpoint", type=int, default=100, help="faults between two checks")
    parser.add_argument("--weights", help='of faults, as "kill=2,broker kill=1"; all by default')
    parser.add_argument("--trainer", action="store_true")
    parser.add_argument("--spare", action="store_true")
    parser.add_argument("--directory", type=Path, help="for records, artifacts and logs")
    parser.add_argument("--report", type=Path, help="write the report to this file too")
    return parser.parse_args()


def _enough(told: Told, options: argparse.Namespace) -> bool:
    return bool(told.faults.total() >= options.faults or told.elapsed >= 60 * options.minutes)


def _weights(text: str | None) -> dict[str, float]:
    if text is None:
        return dict(WEIGHTS)
    return {name: float(weight) for name, weight in (pair.split("=") for pair in text.split(","))}


@contextmanager
def _trainer(group: Group, wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    shop = group.shop
    environment = shop.environment | {
        "ALLUVIUM_TRAINER__HTTP_PORT": "0",
        "ALLUVIUM_TRAINER__REFRESH_SECONDS": REFRESH_SECONDS,
        "ALLUVIUM_TRAINER__THREADS": "1",
    }
    command = [sys.executable, "-m", "stream.cli", "trainer"]
    process = spawn(command, shop.directory / "trainer.log", environment=environment)
    try:
        yield
    finally:
        end(process, 15)


if __name__ == "__main__":
    sys.exit(main())
