"""Fitting encoder and item tower to what was clicked next: one loop.

Fine-tuning with replay is a choice of targets (`sequences.Histories.weights`), not another loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import embedding

from models.features import Features
from models.losses import sampled_softmax
from models.network import EncoderNetwork
from models.optimiser import RowAdam
from models.sequences import Batch, Histories, batches, cut, plan
from models.tower import ItemTower

Progress = Callable[[float], None]
WARM_UP = 0.1  # share of the steps in which the rate rises: Adam's first steps know little of the gradient's size
LAST_RATE = 0.1  # of the full rate, reached at the last step


class TrainingSettings(Protocol):
    """What the loop wants to know (`stream.settings.ModelSettings` has it all)."""

    @property
    def length(self) -> int:
        """The most inputs of a piece."""

    @property
    def dropout(self) -> float:
        """Of the encoder."""

    @property
    def id_dropout(self) -> float:
        """Share of the times that an item with content is shown without its own embedding."""

    @property
    def negatives(self) -> int:
        """Drawn for each batch."""

    @property
    def negatives_power(self) -> float:
        """An item is drawn as often as count ** power."""

    @property
    def temperature(self) -> float:
        """Logits are cosine / temperature."""

    @property
    def batch_events(self) -> int:
        """Inputs of one step, padding included."""

    @property
    def learning_rate(self) -> float:
        """Of the encoder."""

    @property
    def row_learning_rate(self) -> float:
        """Of the embedding tables."""


class Fitted(NamedTuple):
    """What came out: `encoder` parameters, the `tower`, and the mean loss of each epoch."""

    encoder: dict[str, np.ndarray]
    tower: ItemTower
    losses: list[float]


def fit(
    encoder: Mapping[str, np.ndarray],
    tower: ItemTower,
    histories: Histories,
    features: Features,
    counts: npt.NDArray[np.int64],
    *,
    settings: TrainingSettings,
    epochs: int,
    seed: int,
    rate: float = 1.0,
    progress: Progress = lambda _: None,
) -> Fitted:
    """Fits copies of the given encoder parameters and tower for a number of epochs, at `rate` times the full rates.

    `features` and `counts` (N,) belong to the tower's N rows. Deterministic for one seed and number of torch threads.
    """
    rng = np.random.default_rng([seed, 2])
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    loop = _Loop(encoder, tower, features, counts, settings=settings, rng=rng)
    pieces = cut(histories, settings.length)
    steps = epochs * len(plan(pieces, settings.batch_events, np.random.default_rng(0)))
    step, losses = 0, []
    for _ in range(epochs if steps else 0):
        total = weight = 0.0
        for batch in batches(histories, pieces, settings.batch_events, rng):
            lost, of_weight = loop.step(batch, rate * _rate(step, steps))
            total, weight, step = total + lost, weight + of_weight, step + 1
            progress(step / steps)
        losses.append(total / weight)
    torch.random.set_rng_state(generator_state)
    return Fitted(loop.network.arrays(), loop.items.tower(), losses)


class _Loop:
    """The networks in the making, and what one step does to them."""

    def __init__(
        self,
        encoder: Mapping[str, np.ndarray],
        tower: ItemTower,
        features: Features,
        counts: npt.NDArray[np.int64],
        *,
        settings: TrainingSettings,
        rng: np.random.Generator,
    ) -> None:
        self._settings, self._rng = settings, rng
        self.network = EncoderNetwork(encoder, settings.dropout)
        self.items = _TrainableTower(tower, features, counts, settings.id_dropout, rng)
        parameters = self.network.parameters()
        self._optimiser = torch.optim.Adam(parameters, lr=0.0, betas=(0.9, 0.98), fused=True)  # each step sets its rate
        self._sampler = NegativeSampler(counts, settings.negatives, settings.negatives_power)

    def step(self, batch: Batch, share: float) -> tuple[float, float]:
        """One step at a share of the full rates; the loss of the batch, summed by the weights of its targets, and these
        weights' sum.
        """
        settings = self._settings
        # 1. the loss, weighted by event type
        each, weights = self._losses(batch), torch.from_numpy(batch.weights)
        weighed = each * weights
        # 2. one step
        self._optimiser.zero_grad()
        torch.autograd.backward(weighed.sum() / weights.sum())
        for group in self._optimiser.param_groups:
            group["lr"] = settings.learning_rate * share
        self._optimiser.step()
        self.items.step(settings.row_learning_rate * share)
        return float(weighed.detach().sum()), float(weights.sum())

    def _losses(self, batch: Batch) -> Tensor:
        """The loss of each target, (Q,)."""
        # 1. the rows this step touches: inputs, targets and negatives shared by the whole batch
        negatives, log_expected = self._sampler.draw(self._rng)
        rows, local = np.unique(np.concatenate([batch.rows.ravel(), batch.targets, negatives]), return_inverse=True)
        # 2. their vectors, and the user's vector at each asking position
        vectors = self.items.vectors(rows)
        inputs, targets, sampled = _split(vectors, torch.from_numpy(local), batch, len(negatives))
        users = _users(self.network, inputs, batch)
        # 3. what each target costs
        hits = torch.from_numpy(batch.targets[:, None] == negatives[None, :])
        return sampled_softmax(
            users, targets, sampled, log_expected=log_expected, hits=hits, temperature=self._settings.temperature
        )


class NegativeSampler:
    """Draws rows with replacement, as often as count ** power says, and knows how often each is expected."""

    def __init__(self, counts: npt.NDArray[np.int64], size: int, power: float) -> None:
        chances = np.where(counts > 0, np.maximum(counts, 1).astype(np.float64) ** power, 0.0)
        self._rows = np.flatnonzero(chances)
        chances = chances[self._rows] / max(chances.sum(), 1e-300)
        self._cumulated = np.cumsum(chances)
        self._log_expected = np.log(chances * size)
        self._size = size if len(self._rows) else 0

    def draw(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], Tensor]:
        """K rows and the log of how many times each is expected among K."""
        at = np.searchsorted(self._cumulated, rng.random(self._size) * self._cumulated[-1:], "right")
        at = np.minimum(at, len(self._rows) - 1)
        return self._rows[at], torch.from_numpy(self._log_expected[at].astype(np.float32))


class _TrainableTower:
    """The item tower over the few rows of one step, with gradients (see `models.tower` for the formula)."""

    def __init__(
        self,
        tower: ItemTower,
        features: Features,
        counts: npt.NDArray[np.int64],
        id_dropout: float,
        rng: np.random.Generator,
    ) -> None:
        self._features, self._rng, self._id_dropout = features, rng, id_dropout
        self._gate = tower.gate(counts)
        self._known = features.known()
        self._halfway = tower.halfway
        self._identities, self._tokens = RowAdam(tower.identities), RowAdam(tower.tokens)
        self._prices = RowAdam(tower.prices)
        self._touched: list[tuple[RowAdam, Tensor, Tensor]] = []

    def vectors(self, rows: npt.NDArray[np.int64]) -> Tensor:
        """Normalised vectors (U, D); an item with content is now and then shown without its identity."""
        gate = self._gate[rows]
        gate[self._known[rows] & (self._rng.random(len(rows)) < self._id_dropout)] = 0.0
        self._touched = []
        total = torch.from_numpy(gate)[:, None] * self._take(self._identities, torch.from_numpy(rows))
        if self._known[rows].any():
            total = total + self._content(rows)
        return torch.nn.functional.normalize(total, dim=-1)

    def step(self, rate: float) -> None:
        """Moves all that `vectors` touched."""
        for table, rows, leaf in self._touched:
            table.step(rows, leaf, rate)

    def tower(self) -> ItemTower:
        """The tower as it is now."""
        identities, tokens, prices = (
            table.table.numpy().copy() for table in (self._identities, self._tokens, self._prices)
        )
        return ItemTower(identities, tokens, prices, self._halfway)

    def _content(self, rows: npt.NDArray[np.int64]) -> Tensor:
        starts = self._features.starts
        lengths = starts[rows + 1] - starts[rows]
        offsets = np.cumsum(lengths) - lengths
        at = np.repeat(starts[rows] - offsets, lengths) + np.arange(lengths.sum())
        tokens, local = np.unique(self._features.tokens[at].astype(np.int64), return_inverse=True)
        total = torch.zeros(len(rows), self._tokens.table.shape[1])
        if len(tokens):
            table = self._take(self._tokens, torch.from_numpy(tokens))
            owner = torch.from_numpy(np.repeat(np.arange(len(rows)), lengths))
            share = torch.from_numpy(np.repeat(1.0 / np.maximum(lengths, 1), lengths).astype(np.float32))
            total = total.index_add(0, owner, embedding(torch.from_numpy(local), table) * share[:, None])
        prices = self._features.prices[rows]
        buckets, local = np.unique(prices, return_inverse=True)
        priced = torch.from_numpy((prices > 0).astype(np.float32))[:, None]
        return total + priced * embedding(torch.from_numpy(local), self._take(self._prices, torch.from_numpy(buckets)))

    def _take(self, table: RowAdam, rows: Tensor) -> Tensor:
        leaf = table.leaf(rows)
        self._touched.append((table, rows, leaf))
        return leaf


def _split(vectors: Tensor, local: Tensor, batch: Batch, negatives: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs (B, L, D), targets (Q, D) and negatives (K, D) from the vectors of the unique rows."""
    gathered = embedding(local, vectors)  # indexing would add up gradients in whatever order threads come by
    inputs, targets, sampled = torch.split(gathered, [batch.rows.size, len(batch.targets), negatives])
    return inputs.view(*batch.rows.shape, -1), targets, sampled


def _users(network: EncoderNetwork, inputs: Tensor, batch: Batch) -> Tensor:
    """User vectors (Q, D) at the asking positions, each asked with the event type of its own target."""
    everywhere = network(
        inputs, *(torch.from_numpy(part) for part in (batch.types, batch.gaps, batch.spans, batch.intents))
    )
    asking = torch.from_numpy(batch.asking[0] * everywhere.shape[1] + batch.asking[1])
    return embedding(asking, everywhere.flatten(0, 1))


def _rate(step: int, steps: int) -> float:
    """Share of the full learning rate: a short rise, then a straight way down to LAST_RATE."""
    rising = min(1.0, (step + 1) / max(WARM_UP * steps, 1.0))
    return rising * (1.0 - (1.0 - LAST_RATE) * step / max(steps, 1))
