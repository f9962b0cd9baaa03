"""The long run."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.crash.breaking import WEIGHTS, shatter
from tests.crash.group import running_group


def main() -> int:
    """Runs, prints a report; the exit status is 1 if anything was lost, doubled or wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--pause", type=float, default=2.5)
    parser.add_argument("--checkpoint", type=int, default=20)
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--weights", help="fault=weight,…")
    options = parser.parse_args()
    directory = options.directory or Path(tempfile.mkdtemp(prefix="soak-"))
    directory.mkdir(parents=True, exist_ok=True)
    weights = WEIGHTS
    if options.weights:
        pairs = (pair.split("=") for pair in options.weights.split(","))
        weights = {name: float(weight) for name, weight in pairs}
    seed = options.seed
    with running_group(directory, f"s{seed}.", workers=options.workers, seed=seed, rate=options.rate) as group:
        group.load.start()
        group.wait_until_ready()
        told = shatter(
            group,
            random.Random(seed),
            enough=lambda told: told.faults.total() >= options.faults,
            pause=options.pause,
            checkpoint=options.checkpoint,
            weights=weights,
        )
        group.load.finish()
        sys.stderr.write(f"{told}\n")
        for place in group.places:
            sys.stderr.write(f"{place.number} {place.ends} {[round(seconds, 1) for seconds in place.ready_seconds]}\n")
    return 1 if told.problems else 0


if __name__ == "__main__":
    sys.exit(main())
