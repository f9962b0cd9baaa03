"""The refresh, pure: a window of interactions and the version before it become the next version and a report of how good it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from indexing.candidates import FEATURES
from indexing.covisitation import Covisitation
from indexing.sessions import SessionNeighbours
from indexing.trending import Trending
from indexing.vectors import VectorIndex
from models.encoder import HistoryEncoder
from models.features import PRICE_BUCKETS, Features, ItemContent, featurise
from models.network import initial_parameters
from models.ranker import Ranker
from models.ranker_training import fit_ranker
from models.tower import ItemTower
from models.training import fit
from models.vocabulary import Vocabulary
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.judging import compare, not_finite
from stream.knowledge.log import Log, held_out_from, rows_of, sample_replay
from stream.knowledge.snapshot import LONGEST_HISTORY, Snapshot
from stream.knowledge.window import Window
from stream.settings import ModelSettings
from stream.wire.event_types import EventTypes
from stream.wire.messages import Item

Progress = Callable[[str, float], None]

FIRST_SHARE = 0.7  # of a window without a parent: what the forerunner learns from, before the rest is learned as new
FEWEST_QUERIES = 50  # below this there is nothing to teach a ranker with
BATCH = 256  # queries at a time
SPREAD = 0.1  # standard deviation of fresh embeddings; with the learning rate it says how fast they find their place

# Before anything is learned: places in the three sources' lists, then what is popular today.
STARTING_WEIGHTS = {"sessions_rank": 1.0, "covisitation_rank": 1.0, "ann_rank": 0.6, "popularity_day": 0.002}


class NothingToLearnError(ValueError):
    """The window holds no event that says what a user wanted. Operator action: none, wait for more events."""


@dataclass(frozen=True)
class Learned:
    """The next version and what is known of it.

    `report`: `events`, `new_events`, `items`, `users`; `loss`, `ranker_loss`; `enough` (false where there was too little to hold
    anything out or to teach the ranker); `held_out` with `queries` and Recall@20 and MRR@20 of `candidate`, `parent`, `popular`
    and `covisitation` on the same queries; `against_parent` with paired `difference` and `standard_error`; `index` with
    `recall` and `cost`; `not_finite` names of arrays.
    """

    snapshot: Snapshot
    report: dict[str, Any]


class Networks(NamedTuple):
    """What training made: N rows' `counts` and `vectors`, the `encoder` over them and the `tower`; the last `loss`."""

    vocabulary: Vocabulary
    counts: np.ndarray
    vectors: np.ndarray
    encoder: HistoryEncoder
    tower: ItemTower
    loss: float | None


@dataclass(frozen=True)
class Learner:
    """What stays the same throughout one refresh."""

    artifact_id: str
    event_types: EventTypes
    model: ModelSettings
    seed: int
    vocabulary: Vocabulary
    features: Features
    progress: Progress

    def fit(self, log: Log, targets_end: int, parent: Snapshot | None, share: tuple[float, float]) -> Networks:
        """Trains encoder and tower on the new events before `targets_end` and a replay of older ones."""
        model, low, high = self.model, *share
        counts = np.bincount(log.rows[log.new : targets_end], log.positive[log.new : targets_end], len(self.vocabulary))
        encoder, tower, known = self._start(parent)
        counts += known
        targets = np.zeros(len(log), np.float32)
        fresh = slice(log.new, targets_end)
        targets[fresh] = np.maximum(log.weights[fresh], 0)
        replay = sample_replay(log, model.replay * (targets_end - log.new), model.replay_half_life, self.seed)
        targets[: log.new] = np.where(replay, np.maximum(log.weights[: log.new], 0), 0)
        fitted = fit(
            encoder,
            tower,
            log.histories(targets),
            self.features,
            np.asarray(counts, np.int64),
            settings=model,
            epochs=model.first_epochs if parent is None else model.epochs,
            seed=self.seed,
            progress=lambda done: self.progress("fit", low + (high - low) * done),
        )
        vectors = fitted.tower.encode_items(counts, self.features)
        return Networks(
            self.vocabulary,
            counts.astype(np.float32),
            vectors,
            HistoryEncoder(fitted.encoder, vectors),
            fitted.tower,
            fitted.losses[-1] if fitted.losses else None,
        )

    def assemble(
        self, log: Log, networks: Networks, index: VectorIndex, ranker: Ranker, parent: str | None
    ) -> Snapshot:
        """A snapshot of these networks with memories of the whole log."""
        interactions, items = log.interactions(), len(self.vocabulary)
        return Snapshot(
            artifact_id=self.artifact_id,
            parent=parent,
            seed=self.seed,
            vocabulary=self.vocabulary,
            item_vectors=networks.vectors,
            counts=networks.counts,
            encoder=networks.encoder,
            tower=networks.tower,
            vectors=index,
            sessions=SessionNeighbours.build(interactions, items),
            covisitation=Covisitation.build(interactions, items),
            trending=Trending.build(interactions, items, int(log.times.max(initial=0))),
            ranker=ranker,
            event_types=self.event_types.names,
        )

    def index(self, networks: Networks) -> VectorIndex:
        """The index over the networks' item vectors; zeros stand in for vectors that are not finite (the gate names those)."""
        vectors = np.nan_to_num(networks.vectors, nan=0.0, posinf=0.0, neginf=0.0)
        return VectorIndex.build(vectors, flat_below=self.model.flat_below, seed=self.seed)

    def rank(self, log: Log, end: int, parent: Snapshot) -> tuple[Ranker, float | None]:
        """Teaches the ranker what became of the parent's candidates in the events that came after it."""
        model = self.model
        asked = np.flatnonzero(log.askable[log.new : end]) + log.new
        rng = np.random.default_rng([self.seed, 7])
        asked = np.sort(rng.permutation(asked)[: model.ranker_queries])
        if len(asked) < FEWEST_QUERIES:
            return parent.ranker, None
        rows = parent.vocabulary.lookup(self.vocabulary.ids)  # (N,) the parent's row of each row
        features, starts, positives = [], [np.zeros(1, np.int64)], []
        for at in range(0, len(asked), BATCH):
            part = asked[at : at + BATCH]
            batch = log.queries(part, LONGEST_HISTORY)
            found = parent.candidates(replace(batch, rows=rows_of(rows, batch.rows)))
            base = starts[-1][-1]
            features.append(found.features)
            starts.append(found.starts[1:] + base)
            hits = np.flatnonzero(found.rows == rows_of(rows, log.rows[part])[found.users()])
            where = np.full(len(part), -1, np.int64)
            where[found.users()[hits]] = hits + base
            positives.append(where)
            self.progress("rank", at / len(asked))
        ranker, loss = fit_ranker(
            parent.ranker,
            np.concatenate(features),
            np.concatenate(starts),
            np.concatenate(positives),
            epochs=model.ranker_epochs,
            rate=model.ranker_learning_rate,
            seed=self.seed,
        )
        return ranker, loss if ranker is not parent.ranker else None

    def _start(self, parent: Snapshot | None) -> tuple[dict[str, np.ndarray], ItemTower, np.ndarray]:
        """Parameters to begin with: the parent's, fresh ones for rows it does not have; and the counts it knows (N,)."""
        model, size = self.model, len(self.vocabulary)
        rng = np.random.default_rng([self.seed, 3])
        identities = rng.normal(0.0, SPREAD, (size, model.dimensions)).astype(np.float32)
        counts = np.zeros(size)
        if parent is not None:
            rows = parent.vocabulary.lookup(self.vocabulary.ids)
            known = rows >= 0
            identities[known] = parent.tower.identities[rows[known]]
            counts[known] = parent.counts[rows[known]]
            old = parent.tower
            return parent.encoder.arrays(), ItemTower(identities, old.tokens, old.prices, model.gate_halfway), counts
        tokens = rng.normal(0.0, SPREAD, (model.token_buckets, model.dimensions)).astype(np.float32)
        prices = rng.normal(0.0, SPREAD / 4, (PRICE_BUCKETS, model.dimensions)).astype(np.float32)
        kinds = len(self.event_types.names)
        encoder = initial_parameters(model.dimensions, model.heads, model.length, model.inner, kinds, self.seed)
        return encoder, ItemTower(identities, tokens, prices, model.gate_halfway), counts


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

    Without a parent (or with one of another shape) a forerunner learned from the oldest FIRST_SHARE of the window takes its
    place in 3 and 4; it is compared with nobody. Deterministic: the same arguments and number of torch threads give the same
    snapshot. Raises NothingToLearnError if no event is positive.
    """
    if parent is not None and not fits(parent, model, event_types):
        parent = None
    vocabulary = next_vocabulary(window, catalogue, parent)
    rows = vocabulary.lookup(list(window.item_ids))
    new_events = len(window) if parent is None else new_events
    log = Log.of(window, rows, event_types.weights, new_events, model.most_of_one_user)
    if not log.positive.any():
        raise NothingToLearnError("no event of the window says what a user wanted")
    features = featurise((content_of(catalogue.get(item_id)) for item_id in vocabulary.ids), model.token_buckets)
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
    """A forerunner from the oldest part of the log, the log with the rest as new, the held-out end, share of the fit done.

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


def first_ranker() -> Ranker:
    """The ranker of the time before anything is learned."""
    return Ranker.untrained(np.array([STARTING_WEIGHTS.get(name, 0.0) for name in FEATURES]))


def content_of(item: Item | None) -> ItemContent:
    """What the item tower may know of an item of the catalogue."""
    if item is None:
        return ItemContent()
    return ItemContent(item.title, item.category_path(), item.brand, item.price)


def _first_seen(items: np.ndarray) -> np.ndarray:
    """The numbers that occur, in order of their first appearance."""
    numbers, first = np.unique(items, return_index=True)
    return numbers[np.argsort(first, kind="stable")]
