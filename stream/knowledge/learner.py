"""The parts of a refresh: fitting the networks, teaching the ranker, putting a snapshot together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from indexing.candidates import feature_names
from indexing.source import Contents
from indexing.vectors import VectorIndex
from models.encoder import HistoryEncoder
from models.features import PRICE_BUCKETS, Features
from models.network import initial_parameters
from models.ranker import Ranker
from models.ranker_training import fit_ranker
from models.tower import ItemTower
from models.training import fit
from models.vocabulary import Vocabulary
from models.words import with_meaning
from stream.knowledge.counting import Counted, Counting
from stream.knowledge.log import MOST_QUERIES_OF_ONE_USER, Ints, Log, newest_of_each, rows_of, sample_replay
from stream.knowledge.snapshot import LONGEST_HISTORY, Snapshot
from stream.settings import ModelSettings
from stream.wire.event_types import PURCHASE, EventTypes

Progress = Callable[[str, float], None]

FEWEST_QUERIES = 50  # below this there is nothing to teach a ranker with
USUAL_QUERIES = 2_000  # for the ranker; more only where they are less than RANKER_SHARE of the new events
RANKER_SHARE = 0.3
BATCH = 256  # queries at a time
BLIND_SHARE = 0.1  # of the items with content: known to the ranker's first teacher by their content alone
SPREAD = 0.1  # standard deviation of fresh embeddings; with the learning rate it says how fast they find their place

# Before anything is learned: places in the sources' lists, then what is popular today.
STARTING_WEIGHTS = {"sessions_rank": 1.0, "covisitation_rank": 1.0, "popularity_day": 0.002}
STARTING_RANK_WEIGHT = 0.6  # of the other sources


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
    categories: Sequence[tuple[str, ...]]
    progress: Progress

    def fit(
        self,
        log: Log,
        targets_end: int,
        parent: Snapshot | Networks | None,
        share: tuple[float, float],
        *,
        epochs: int | None = None,
        replay: float | None = None,
        rate: float = 1.0,
    ) -> Networks:
        """Trains encoder and tower on the new events before `targets_end` and a replay of so many older ones.

        By default `replay` and `epochs` are what the settings say of a refresh. `rate`: share of the learning rates.
        """
        model, low, high = self.model, *share
        encoder, tower, known = self._start(parent)
        learned = np.bincount(
            log.rows[log.new : targets_end], log.positive[log.new : targets_end], len(self.vocabulary)
        )
        counts = known + learned
        fresh = targets_end - log.new
        replayed = sample_replay(
            log, model.replay * fresh if replay is None else replay, model.replay_half_life, self.seed
        )
        targets = np.maximum(log.weights, 0)
        targets[: log.new][~replayed] = 0
        targets[targets_end:] = 0
        if epochs is None:
            epochs = passes(model.epochs, model.visits, fresh + int(np.count_nonzero(replayed)))
        fitted = fit(
            encoder,
            tower,
            log.histories(targets),
            self.features,
            np.asarray(counts, np.int64),
            settings=model,
            epochs=epochs,
            seed=self.seed,
            rate=rate,
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

    def fine_tune(self, log: Log, targets_end: int, parent: Snapshot) -> Networks:
        """The parent's networks, trained on: where there is little news, once over it and slowly.

        Measured: with news of a fortieth of the window full rates and more passes made the lists worse, with a quarter
        of it better.
        """
        if len(log) - log.new < self.model.short_refresh * len(log):
            return self.fit(log, targets_end, parent, (0.0, 1.0), epochs=1, rate=self.model.short_rate)
        return self.fit(log, targets_end, parent, (0.0, 1.0))

    def count(self, log: Log) -> Counted:
        """All that is only counted, of the whole log."""
        return self._counting().of(log)

    def assemble(
        self, counted: Counted, networks: Networks, index: VectorIndex, ranker: Ranker, parent: str | None
    ) -> Snapshot:
        """A snapshot of these networks with these memories."""
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
            ranker=ranker,
            event_types=self.event_types.names,
            unwanted=self.event_types.unwanted,
            **counted._asdict(),
        )

    def equip(self, parent: Snapshot, log: Log) -> Snapshot:
        """The parent with the sources that the settings name, built from what it has seen of the log."""
        if tuple(parent.memories) == self.model.sources:
            return parent
        seen = log.until(log.new, log.new).interactions()
        seen = seen.renumbered(parent.vocabulary.lookup(self.vocabulary.ids))
        memories = self._counting().take(self.vocabulary.lookup(parent.vocabulary.ids)).memories(seen)
        old, new = feature_names(list(parent.memories)), feature_names(self.model.sources)
        return replace(parent, memories=memories, ranker=parent.ranker.for_features(old, new))

    def blind(self, log: Log, networks: Networks) -> tuple[Log, Networks]:
        """The same without the events of some items: their candidates teach the ranker what a cold item is worth.

        As dropout teaches a network to do without (DropoutNet: Volkovs et al., NeurIPS 2017). Items of which nothing is
        known but their events are left alone.
        """
        rng = np.random.default_rng([self.seed, 8])
        hidden = self.features.known() & (rng.random(len(self.vocabulary)) < BLIND_SHARE)
        if not hidden.any():
            return log, networks
        counts = np.where(hidden, np.float32(0), networks.counts)
        vectors = networks.tower.encode_items(counts, self.features)
        blind = networks._replace(counts=counts, vectors=vectors, encoder=networks.encoder.with_vectors(vectors))
        return log.without(hidden), blind

    def index(self, networks: Networks) -> VectorIndex:
        """The index over the networks' item vectors; zeros stand in where a value is not finite."""
        vectors = np.nan_to_num(networks.vectors, nan=0.0, posinf=0.0, neginf=0.0)
        return VectorIndex.build(vectors, flat_below=self.model.flat_below, seed=self.seed)

    def rank(self, log: Log, end: int, parent: Snapshot) -> tuple[Ranker, float | None]:
        """Teaches the ranker what became of the parent's candidates in the events that came after it.

        Of each user only the newest MOST_QUERIES_OF_ONE_USER teach it.
        """
        model = self.model
        asked = np.flatnonzero(log.askable[log.new : end]) + log.new
        asked = asked[newest_of_each(log.users[asked], MOST_QUERIES_OF_ONE_USER)]
        rng = np.random.default_rng([self.seed, 7])
        most = min(model.ranker_queries, max(USUAL_QUERIES, int(RANKER_SHARE * len(asked))))
        asked = np.sort(rng.permutation(asked)[:most])
        if len(asked) < FEWEST_QUERIES:
            return parent.ranker, None
        features, starts, positives, weights = self._lists(log, asked, parent)
        ranker, loss = fit_ranker(
            parent.ranker,
            features,
            starts,
            positives,
            weights,
            epochs=model.ranker_epochs,
            rate=model.ranker_learning_rate,
            seed=self.seed,
        )
        return ranker, loss if ranker is not parent.ranker else None

    def _counting(self) -> Counting:
        """What is counted, over the rows of this refresh."""
        contents = Contents(self.features.tokens, self.features.starts)
        return Counting(contents, self.categories, self.event_types, self.model.sources)

    def _lists(self, log: Log, asked: Ints, parent: Snapshot) -> tuple[np.ndarray, Ints, Ints, np.ndarray]:
        """The parent's candidates for these queries, as far as the right item is among them.

        Each is asked with the event type that came. Features (M, F) of all candidates, where each list begins (B + 1,),
        the right candidates' positions (B,), and the weights of the events that came (B,).
        """
        rows = parent.vocabulary.lookup(self.vocabulary.ids)  # (N,) the parent's row of each row
        features = [np.zeros((0, parent.ranker.features), np.float32)]
        lengths, positives, weights = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        size = 0
        purchase = self.event_types.code(PURCHASE)
        for at in range(0, len(asked), BATCH):
            part = asked[at : at + BATCH]
            batch = log.queries(part, LONGEST_HISTORY, log.types[part], purchase)
            found = parent.candidates(batch.renumbered(rows))
            owners = found.users()
            hits = found.rows == rows_of(rows, log.rows[part])[owners]
            teaches = np.bincount(owners[hits], minlength=len(part)) > 0
            kept = teaches[owners]
            features.append(found.features[kept])
            lengths.append(np.diff(found.starts)[teaches])
            weights.append(log.weights[part][teaches])
            positives.append(np.flatnonzero(hits[kept]) + size)
            size += int(np.count_nonzero(kept))
            self.progress("rank", at / len(asked))
        starts = np.concatenate(([0], np.cumsum(np.concatenate(lengths), dtype=np.int64)))
        return np.concatenate(features), starts, np.concatenate(positives), np.concatenate(weights)

    def _start(self, parent: Snapshot | Networks | None) -> tuple[dict[str, np.ndarray], ItemTower, np.ndarray]:
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
        tokens = with_meaning(tokens, self.features, self.seed)
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


def passes(most: int, visits: int, events: int) -> int:
    """How often to go over so many events: at most `most` times, and, but for the first time, within so many visits.

    >>> passes(3, 500_000, 20_000), passes(3, 500_000, 200_000), passes(3, 500_000, 900_000)
    (3, 2, 1)
    """
    return min(most, max(visits // max(events, 1), 1))


def first_ranker(memories: Sequence[str]) -> Ranker:
    """The ranker of the time before anything is learned."""
    return Ranker.untrained(np.array([_starting_weight(name) for name in feature_names(memories)]))


def _starting_weight(feature: str) -> float:
    return STARTING_WEIGHTS.get(feature, STARTING_RANK_WEIGHT if feature.endswith("_rank") else 0.0)
