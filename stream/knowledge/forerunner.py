"""The first fit, without a parent: a part of the log says how often to go over it, and teaches the ranker."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.quality import exact_ranks, gains_at
from models.ranker import Ranker
from stream.knowledge.learner import FEWEST_QUERIES, Learner, Networks, first_ranker, passes
from stream.knowledge.log import Ints, Log
from stream.knowledge.snapshot import LONGEST_HISTORY

FIRST_SHARE = 0.7  # of the window: what the forerunner learns from
MOST_QUERIES = 2_000  # that say whether the forerunner got better
MOST_SCORES = 200_000_000  # of items for these queries: a large catalogue is asked about less often
WORTH = 1.01  # a round of the forerunner must make lists better by a hundredth, or was the last
UNTRIED_EPOCHS = 4  # where there is too little to try anything


def first_fit(learner: Learner, log: Log, end: int) -> tuple[Ranker, float | None, Networks]:
    """Ranker, its loss, and networks from a log without a parent; nothing from `end` on is learned.

    1. A forerunner learns from the oldest FIRST_SHARE of the log, as long as it helps.
    2. The ranker learns from what its candidates were worth in the rest, made blind to the events of some items.
    3. The networks are the forerunner's, trained on everything for as many epochs as had helped.
    """
    model = learner.model
    cut = int(FIRST_SHARE * len(log))
    asked = np.flatnonzero(log.askable[cut:end]) + cut
    if len(asked) < FEWEST_QUERIES or not log.positive[:cut].any():
        epochs = passes(min(model.first_epochs, UNTRIED_EPOCHS), model.first_visits, end)
        return first_ranker(model.sources), None, learner.fit(log, end, None, (0.0, 1.0), epochs=epochs)
    forerunner, epochs = while_better(learner, log, cut, asked)
    seen, blind = learner.blind(log.until(cut, 0), forerunner)
    teacher = learner.assemble(learner.count(seen), blind, learner.index(blind), first_ranker(model.sources), None)
    log = replace(log, new=cut)
    ranker, loss = learner.rank(log, end, teacher)
    epochs = passes(epochs, model.first_visits, end)
    return ranker, loss, learner.fit(log, end, forerunner, (FIRST_SHARE, 1.0), epochs=epochs, replay=cut)


def while_better(learner: Learner, log: Log, cut: int, asked: Ints) -> tuple[Networks, int]:
    """Networks learned from the events before `cut`, in rounds as long as all before them, and how many epochs it took.

    The rounds end when the lists for the events at `asked`, which are newer, no longer get better, or when the settings
    allow no more; of the last two states the better one is returned. A round ends with a small learning rate, so that
    each state that is looked at is a finished one.
    """
    model = learner.model
    most = passes(model.first_epochs, model.first_visits, cut)
    epochs = min(most, 1)
    best = learner.fit(log.until(cut, 0), cut, None, (0.0, FIRST_SHARE / 2), epochs=epochs)
    quality = _quality(best, log, asked)
    while 0 < 2 * epochs <= most:
        share = FIRST_SHARE * (1 - 1 / (2 * epochs)), FIRST_SHARE * (1 - 1 / (4 * epochs))
        networks = learner.fit(log.until(cut, cut), cut, best, share, epochs=epochs, replay=cut)
        found = _quality(networks, log, asked)
        if not found > quality * WORTH:
            break
        best, quality, epochs = networks, found, 2 * epochs
    return best, epochs


def _quality(networks: Networks, log: Log, asked: Ints) -> float:
    """Mean of 1 / log2(1 + rank) of the right item among all items, over a part of the queries evenly spread."""
    most = max(min(MOST_QUERIES, MOST_SCORES // len(networks.vectors)), FEWEST_QUERIES)
    part = asked[np.linspace(0, len(asked) - 1, min(most, len(asked))).astype(np.int64)]
    batch = log.queries(part, LONGEST_HISTORY, log.types[part], -1)
    users = networks.encoder.encode(batch.rows, batch.types, batch.times, batch.starts, batch.intents)
    return float(gains_at(exact_ranks(users, networks.vectors, log.rows[part]), len(networks.vectors)).mean())
