"""The refresh, pure: a window of interactions and the version before it become the next version and a report on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from models.vocabulary import Vocabulary
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.counting import Counted
from stream.knowledge.forerunner import first_fit
from stream.knowledge.judging import judged, not_finite, questions
from stream.knowledge.learner import Learner, Progress
from stream.knowledge.log import Log, held_out_from
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.threads import together
from stream.knowledge.window import Window
from stream.settings import ModelSettings
from stream.wire.event_types import EventTypes


class NothingToLearnError(ValueError):
    """The window holds no event that says what a user wanted. Operator action: none, wait for more events."""


@dataclass(frozen=True)
class Learned:
    """The next version and what is known of it.

    `report`: `events`, `new_events`, `items`, `users`; `loss`, `ranker_loss`; `enough` (false where there was too
    little to hold anything out or to teach the ranker); `held_out` with `queries` and Recall@20 and MRR@20 of
    `candidate`, `parent`, `popular` and `covisitation` on the same queries; `against_parent`, without one
    `against_popular`, with paired `difference` and `standard_error`; `index` with `recall`, `cost` and
    `probes`; `not_finite` names of arrays.
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
    intent: str | None = None,
    progress: Progress = lambda _stage, _done: None,
) -> Learned:
    """The next version from a window whose newest `new_events` the parent has not seen.

    1. Items that have events or stand in the catalogue get rows; the parent's keep their embeddings.
    2. The newest part of the new events is held out: no network sees it.
    3. The ranker learns from what the parent's candidates were worth in the new events.
    4. Encoder and tower are trained on the new events and a replay of old ones, from where the parent's stood.
    5. Candidate and parent are scored on the held-out events, with memories that have not seen them either, as lists
       for events are: with `intent` (the event type that lists are for). An index that costs too much looks wider.
    6. The memories are rebuilt with the held-out events too (counting them is not training on them).

    Where there are threads for it, 3 is done at the same time as 4, and the memories are built beside the index.

    Without a parent (or with one of another shape) a forerunner takes its place in 3 (there it is blind to the events
    of some items) and in 4 (`forerunner.first_fit`), and what is popular takes it in 5. Deterministic: the same
    arguments and number of torch threads give the same snapshot. Raises NothingToLearnError if no event is positive.
    """
    if parent is not None and not fits(parent, model, event_types):
        parent = None
    vocabulary = next_vocabulary(window, catalogue, parent)
    rows = vocabulary.lookup(list(window.item_ids))
    new_events = len(window) if parent is None else new_events
    log = Log.of(window, rows, event_types.weights, new_events, model.most_of_one_user)
    if not log.positive.any():
        raise NothingToLearnError("no event of the window says what a user wanted")
    features, categories = catalogue.features(vocabulary.ids, model.token_buckets), catalogue.categories(vocabulary.ids)
    learner = Learner(artifact_id, event_types, model, seed, vocabulary, features, categories, progress)
    end = held_out_from(log, model.held_out, model.held_out_most)
    if parent is not None:
        networks, (ranker, ranker_loss) = together(
            lambda: learner.fine_tune(log, end, parent),
            lambda: learner.rank(log, end, learner.equip(parent, log)),
        )
    else:
        ranker, ranker_loss, networks = first_fit(learner, log, end)
    # never beside a search: FAISS computes both as one switch of the whole process says
    index, counted = together(lambda: learner.index(networks), lambda: _counted(learner, log, end))
    name = None if parent is None else parent.artifact_id
    progress("judge", 0.0)
    known = None if counted.known is None else learner.assemble(counted.known, networks, index, ranker, name)
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
        asked = questions(known, log, end, intent)
        index, scored = judged(known, parent, asked, model.index_tolerance)
        report |= scored
    progress("build", 0.0)
    snapshot = learner.assemble(counted.all, networks, index, ranker, name)
    progress("build", 1.0)
    return Learned(snapshot, report | {"not_finite": not_finite(snapshot)})


class _Counts(NamedTuple):
    """What is counted with the held-out events, and without them: None where nothing is held out."""

    all: Counted
    known: Counted | None


def _counted(learner: Learner, log: Log, end: int) -> _Counts:
    return _Counts(learner.count(log), learner.count(log.until(end, log.new)) if end < len(log) else None)


def next_vocabulary(window: Window, catalogue: Catalogue, parent: Snapshot | None) -> Vocabulary:
    """The parent's items that still live, then those of the window and of the catalogue that it does not have.

    An item lives as long as it has an event in the window or stands in the catalogue.
    """
    in_window = [window.item_ids[number] for number in _first_seen(window.column("items"))]
    known = set(in_window)
    old = parent.vocabulary.ids if parent is not None else []
    kept = [item_id for item_id in old if item_id in known or catalogue.holds(item_id)]
    return Vocabulary(kept).extended([*in_window, *catalogue.available_ids()])


def fits(parent: Snapshot, model: ModelSettings, event_types: EventTypes) -> bool:
    """Whether training can go on from this snapshot: the same shapes and the same event types."""
    shape = parent.encoder.parameters
    return (
        parent.event_types == event_types.names
        and parent.tower.tokens.shape == (model.token_buckets, model.dimensions)
        and shape["distances"].shape == (model.heads, model.length)
        and len(shape["inner"]) == model.inner
    )


def _first_seen(items: np.ndarray) -> np.ndarray:
    """The numbers that occur, in order of their first appearance."""
    numbers, first = np.unique(items, return_index=True)
    return numbers[np.argsort(first, kind="stable")]
