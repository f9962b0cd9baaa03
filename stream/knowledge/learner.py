"""The parts of a refresh: fitting the networks, teaching the ranker, putting a snapshot together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from indexing.candidates import FEATURES
from indexing.covisitation import Covisitation
from indexing.sessions import SessionNeighbours
from indexing.trending import Trending
from indexing.vectors import VectorIndex
from models.encoder import HistoryEncoder
from models.features import PRICE_BUCKETS, Features
from models.network import initial_parameters
from models.ranker import Ranker
from models.ranker_training import fit_ranker
from models.tower import ItemTower
from models.training import fit
from models.vocabulary import Vocabulary
from stream.knowledge.log import Ints, Log, rows_of, sample_replay
from stream.knowledge.snapshot import LONGEST_HISTORY, Snapshot
from stream.settings import ModelSettings
from stream.wire.event_types import EventTypes

Progress = Callable[[str, float], None]

FEWEST_QUERIES = 50  # below this there is nothing to teach a ranker with
USUAL_QUERIES = 2_000  # for the ranker; more only where they are less than RANKER_SHARE of the new events
RANKER_SHARE = 0.3
BATCH = 256  # queries at a time
SPREAD = 0.1  # standard deviation of fresh embeddings; with the learning rate it says how fast they find their place

# Before anything is learned: places in the three sources' lists, then what is popular today.
STARTING_WEIGHTS = {"sessions_rank": 1.0, "covisitation_rank": 1.0, "ann_rank": 0.6, "popularity_day": 0.002}


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
        encoder, tower, known = self._start(parent)
        learned = np.bincount(
            log.rows[log.new : targets_end], log.positive[log.new : targets_end], len(self.vocabulary)
        )
        counts = known + learned
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
        """The index over the networks' item vectors; zeros stand in where a value is not finite."""
        vectors = np.nan_to_num(networks.vectors, nan=0.0, posinf=0.0, neginf=0.0)
        return VectorIndex.build(vectors, flat_below=self.model.flat_below, seed=self.seed)

    def rank(self, log: Log, end: int, parent: Snapshot) -> tuple[Ranker, float | None]:
        """Teaches the ranker what became of the parent's candidates in the events that came after it."""
        model = self.model
        asked = np.flatnonzero(log.askable[log.new : end]) + log.new
        rng = np.random.default_rng([self.seed, 7])
        most = min(model.ranker_queries, max(USUAL_QUERIES, int(RANKER_SHARE * len(asked))))
        asked = np.sort(rng.permutation(asked)[:most])
        if len(asked) < FEWEST_QUERIES:
            return parent.ranker, None
        features, starts, positives = self._lists(log, asked, parent)
        ranker, loss = fit_ranker(
            parent.ranker,
            features,
            starts,
            positives,
            epochs=model.ranker_epochs,
            rate=model.ranker_learning_rate,
            seed=self.seed,
        )
        return ranker, loss if ranker is not parent.ranker else None

    def _lists(self, log: Log, asked: Ints, parent: Snapshot) -> tuple[np.ndarray, Ints, Ints]:
        """The parent's candidates for these queries, as far as the right item is among them.

        Features (M, F) of all candidates, where each list begins (B + 1,), and the right candidates' positions (B,).
        """
        rows = parent.vocabulary.lookup(self.vocabulary.ids)  # (N,) the parent's row of each row
        features = [np.zeros((0, len(FEATURES)), np.float32)]
        lengths, positives = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        size = 0
        for at in range(0, len(asked), BATCH):
            part = asked[at : at + BATCH]
            batch = log.queries(part, LONGEST_HISTORY)
            found = parent.candidates(replace(batch, rows=rows_of(rows, batch.rows)))
            owners = found.users()
            hits = found.rows == rows_of(rows, log.rows[part])[owners]
            teaches = np.bincount(owners[hits], minlength=len(part)) > 0
            kept = teaches[owners]
            features.append(found.features[kept])
            lengths.append(np.diff(found.starts)[teaches])
            positives.append(np.flatnonzero(hits[kept]) + size)
            size += int(np.count_nonzero(kept))
            self.progress("rank", at / len(asked))
        starts = np.concatenate(([0], np.cumsum(np.concatenate(lengths), dtype=np.int64)))
        return np.concatenate(features), starts, np.concatenate(positives)

    def _start(self, parent: Snapshot | None) -> tuple[dict[str, np.ndarray], ItemTower, np.ndarray]:
        """Parameters to begin with: the parent's, fresh ones for rows it does not have; and the counts it knows."""
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
        encoder = initial_parameters(
            dimensions=model.dimensions,
            heads=model.heads,
            length=model.length,
            inner=model.inner,
            types=kinds,
            seed=self.seed,
        )
        return encoder, ItemTower(identities, tokens, prices, model.gate_halfway), counts


def first_ranker() -> Ranker:
    """The ranker of the time before anything is learned."""
    return Ranker.untrained(np.array([STARTING_WEIGHTS.get(name, 0.0) for name in FEATURES]))
