"""How good refreshes are for the events that come next: two ways to refresh, side by side on the same events.

    python -m tests.bench.refresh_quality yoochoose/ader_yoochoose_stream.csv.gz --against epochs=1,visits=20000

Both begin with the same first artifact. After each refresh both are asked for all of the next `--new` events, every
user with the history that a worker would have; then these are learned. Recall@20 and MRR@20 of the lists and of the
encoder alone (exact search over all items), and the mean difference, pair by pair, with its standard error.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.quality import exact_ranks, hits_at, ranks_of, reciprocal_ranks_at
from stream.knowledge.log import Log
from stream.knowledge.snapshot import LONGEST_HISTORY
from stream.knowledge.threads import use_threads
from stream.knowledge.window import Window
from tests.bench.refresh import Chain, Click, arguments, source_of, with_settings

K = 20
BATCH = 256

Ranks = npt.NDArray[np.int64]


class Answers(NamedTuple):
    """Ranks of the right items, 0 where they are missing: in the lists, and among all items by the encoder alone."""

    lists: Ranks
    alone: Ranks


def answers(chain: Chain, ahead: list[Click]) -> Answers:
    """How a chain's newest version answers for the events ahead."""
    snapshot = chain.snapshot
    assert snapshot is not None
    types = chain.settings.event_types()
    window = Window(types.names)
    for click in [*chain.recent, *ahead]:
        window.append(click.user, click.item, "click", click.time)
    rows = snapshot.vocabulary.lookup(list(window.item_ids))
    log = Log.of(window, rows, types.weights, len(ahead), len(window))
    asked = np.flatnonzero(log.askable[log.new :]) + log.new
    batch = log.queries(asked, LONGEST_HISTORY, np.zeros(len(asked), np.int8), -1)
    lists, alone = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for at in range(0, len(asked), BATCH):
        part, targets = batch.take(np.arange(at, min(at + BATCH, len(asked)))), log.rows[asked][at : at + BATCH]
        lists.append(ranks_of(targets, snapshot.rank(part, counts=K).rows()))
        users = snapshot.encoder.encode(part.rows, part.types, part.times, part.starts, part.intents)
        exact = exact_ranks(users, snapshot.item_vectors, np.maximum(targets, 0))
        alone.append(np.where((targets >= 0) & (exact <= K), exact, 0))
    return Answers(np.concatenate(lists), np.concatenate(alone))


def tell(name: str, usual: list[Answers], other: list[Answers]) -> None:
    """Means over all events, and the difference pair by pair."""
    print(f"\nusual -> {name}, {sum(len(found.lists) for found in usual)} queries")
    for place, what in enumerate(("lists", "encoder alone")):
        ours, theirs = (np.concatenate([found[place] for found in chain]) for chain in (usual, other))
        for measure, score in ((f"recall@{K}", hits_at), (f"mrr@{K}", reciprocal_ranks_at)):
            before, after = score(ours, K), score(theirs, K)
            error = np.std(after - before) / np.sqrt(max(len(before), 1))
            print(
                f"{what:14}{measure:10}{before.mean():8.4f} ->{after.mean():8.4f}"
                f"  ({(after - before).mean():+.4f} +- {error:.4f})"
            )


def main(options: argparse.Namespace) -> None:
    """Refreshes all chains over the same events and prints the tables."""
    use_threads(options.threads)
    clicks, catalogue = source_of(options)
    variants = {"usual": options.set, **{changes: changes for changes in options.against}}
    chains = [
        Chain(name, with_settings(changes), catalogue, options.window, options.new)
        for name, changes in variants.items()
    ]
    first = list(islice(clicks, options.window))
    for chain in chains:
        chain.take(first)
    begun = chains[0].learn().snapshot
    ahead = list(islice(clicks, options.new))
    found: dict[str, list[Answers]] = {name: [] for name in variants}
    seconds = dict.fromkeys(variants, 0.0)
    for chain in chains:
        chain.snapshot = begun
    for _ in range(options.refreshes):
        arrived, ahead = ahead, list(islice(clicks, options.new))
        for chain in chains:
            chain.take(arrived)
            began = time.process_time()
            chain.snapshot = chain.learn().snapshot
            seconds[chain.name] += time.process_time() - began
            found[chain.name].append(answers(chain, ahead))
    for name, other in found.items():
        tell(name, found["usual"], other)
        print(f"CPU seconds of learning, each refresh: {seconds[name] / options.refreshes:.2f}")


if __name__ == "__main__":
    parser = arguments()
    parser.add_argument("--against", action="append", default=[], help="other model settings, to compare with")
    main(parser.parse_args())
