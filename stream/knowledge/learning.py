"""The refresh, pure: a window of interactions and the version before it become the next version and a report on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from indexing.candidates import FEATURES
from models.features import EMPTY, featurise
from models.vocabulary import Vocabulary
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.judging import compare, not_finite
from stream.knowledge.learner import FEWEST_QUERIES, Learner, Progress, first_ranker
from stream.knowledge.log import Log, held_out_from
from stream.knowledge.served import content_of
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.window import Window
from stream.settings import ModelSettings
from stream.wire.event_types import EventTypes

FIRST_SHARE = 0.7  # of a window without a parent: what the forerunner learns from, before the rest is learned as new


class NothingToLearnError(ValueError):
    """The window holds no event that says what a user wanted. Operator action: none, wait for more events."""


@dataclass(frozen=True)
class Learned:
    """The next version and what is known of it.

    `report`: `events`, `new_events`, `items`, `users`; `loss`, `ranker_loss`; `enough` (false where there was too
    little to hold anything out or to teach the ranker); `held_out` with `queries` and Recall@20 and MRR@20 of
    `candidate`, `parent`, `popular` and `covisitation` on the same queries; `against_parent` with paired `difference`
    and `standard_error`; `index` with `recall` and `cost`; `not_finite` names of arrays.
    """

    snapshot: Snapshot
    report: dict[str, Any]


def learn(
    window: Window,
    catalogue: Catalogue,
    parent: Snapshot | None,
    *,
    artifact_id: str,
    event_types: EventTypes,
    model: ModelSettings,
    seed: int,
    new_events: int,
    progress: Progress = lambda _stage, _done: None,
) -> Learned:
    """The next version from a window whose newest `new_events` the parent has not seen.

    1. Items that have events or stand in the catalogue get rows; the parent's keep their embeddings.
    2. The newest part of the new events is held out: no network sees it.
    3. The ranker learns from what the parent's candidates were worth in the new events.
    4. Encoder and tower are trained on the new events and a replay of old ones, from where the parent's stood.
    5. Candidate and parent are scored on the held-out events, with memories that have not seen them either.
    6. The memories are rebuilt with the held-out events too (counting them is not training on them).

    Without a parent (or with one of another shape) a forerunner learned from the oldest FIRST_SHARE of the window takes
    its place in 3 and 4; nobody is compared with it. Deterministic: the same arguments and number of torch threads give
    the same snapshot. Raises NothingToLearnError if no event is positive.
    """
    if parent is not None and not fits(parent, model, event_types):
        parent = None
    vocabulary = next_vocabulary(window, catalogue, parent)
    rows = vocabulary.lookup(list(window.item_ids))
    new_events = len(window) if parent is None else new_events
    log = Log.of(window, rows, event_types.weights, new_events, model.most_of_one_user)
    if not log.positive.any():
        raise NothingToLearnError("no event of the window says what a user wanted")
    described = (catalogue.get(item_id) for item_id in vocabulary.ids)
    features = featurise((content_of(item) if item else EMPTY for item in described), model.token_buckets)
    learner = Learner(artifact_id, event_types, model, seed, vocabulary, features, progress)
    end = held_out_from(log, model.held_out, model.held_out_most)
    before, first_fit = parent, 0.0
    if parent is None:
        before, log, end, first_fit = _forerun(learner, log, end)
    ranker, ranker_loss = learner.rank(log, end, before) if before is not None else (first_ranker(), None)
    networks = learner.fit(log, end, before, (first_fit, 1.0))
    index = learner.index(networks)
    name = None if parent is None else parent.artifact_id
    progress("judge", 0.0)
    known = learner.assemble(log.until(end, log.new), networks, index, ranker, name) if end < len(log) else None
    report: dict[str, Any] = {
        "events": len(window),
        "new_events": new_events,
        "items": len(vocabulary),
        "users": len(log.starts) - 1,
        "loss": networks.loss,
        "ranker_loss": ranker_loss,
        "enough": known is not None and ranker.trained,
    }
    if known is not None:
        report |= compare(known, parent, log, end)
    progress("build", 0.0)
    snapshot = learner.assemble(log, networks, index, ranker, name)
    progress("build", 1.0)
    return Learned(snapshot, report | {"not_finite": not_finite(snapshot)})


def _forerun(learner: Learner, log: Log, end: int) -> tuple[Snapshot | None, Log, int, float]:
    """A forerunner from the oldest part of the log, the log with the rest as new, the end, the share of the fit done.

    None where the rest would be too little to teach a ranker with.
    """
    cut = int(FIRST_SHARE * len(log))
    rest = np.count_nonzero(log.askable[cut:end])
    if rest < FEWEST_QUERIES or not log.positive[:cut].any():
        return None, log, end, 0.0
    oldest = log.until(cut, 0)
    networks = learner.fit(oldest, cut, None, (0.0, FIRST_SHARE))
    snapshot = learner.assemble(oldest, networks, learner.index(networks), first_ranker(), None)
    return snapshot, replace(log, new=cut), end, FIRST_SHARE


def next_vocabulary(window: Window, catalogue: Catalogue, parent: Snapshot | None) -> Vocabulary:
    """The parent's items that still live, then those of the window and of the catalogue that it does not have.

    An item lives as long as it has an event in the window or stands in the catalogue.
    """
    in_window = [window.item_ids[number] for number in _first_seen(window.column("items"))]
    known = set(in_window)
    old = parent.vocabulary.ids if parent is not None else []
    kept = [item_id for item_id in old if item_id in known or catalogue.get(item_id) is not None]
    described = (item.item_id for item in catalogue.items() if item.available)
    return Vocabulary(kept).extended([*in_window, *described])


def fits(parent: Snapshot, model: ModelSettings, event_types: EventTypes) -> bool:
    """Whether training can go on from this snapshot: the same shapes and the same event types."""
    shape = parent.encoder.parameters
    return (
        parent.event_types == event_types.names
        and parent.tower.tokens.shape == (model.token_buckets, model.dimensions)
        and shape["distances"].shape == (model.heads, model.length)
        and len(shape["inner"]) == model.inner
        and parent.ranker.features == len(FEATURES)
    )


def _first_seen(items: np.ndarray) -> np.ndarray:
    """The numbers that occur, in order of their first appearance."""
    numbers, first = np.unique(items, return_index=True)
    return numbers[np.argsort(first, kind="stable")]
