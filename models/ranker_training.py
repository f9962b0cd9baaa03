"""Fitting the ranker to lists of candidates of which one was the right one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.losses import listwise_softmax
from models.ranker import HIDDEN, LIMIT, Ranker

LISTS_PER_STEP = 128
WEIGHT_DECAY = 1e-4
AVERAGED = 0.5  # share of the steps, the last ones, whose mean is the result


def fit_ranker(
    ranker: Ranker,
    features: np.ndarray,
    starts: npt.NDArray[np.int64],
    positives: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float32],
    *,
    epochs: int,
    rate: float,
    seed: int,
) -> tuple[Ranker, float]:
    """A fitted copy of the ranker, and the mean loss of the last epoch (NaN if there was nothing to fit).

    `features` (M, F) of all lists' candidates, `starts` (B + 1,) where each list begins, `positives` (B,) the position
    of the right candidate among all M, -1 where it was not found: such a list teaches nothing here and is passed over;
    `weights` (B,) what each list counts for.
    The fitted parameters are the mean over the later AVERAGED share of the steps (Polyak and Juditsky, 1992): single
    steps swing around it with what their few lists happen to want.
    A ranker that has never been fitted takes its standardisation from these features; a fitted one keeps its own, so
    that its weights go on meaning the same.
    """
    lists = np.flatnonzero(positives >= 0)
    if len(lists) == 0 or epochs < 1:
        return ranker, float("nan")
    parameters = _start(ranker, features, seed)
    mean, scale = parameters.pop("mean"), parameters.pop("scale")
    leaves = {name: torch.tensor(array, dtype=torch.float32).requires_grad_() for name, array in parameters.items()}
    standard = torch.from_numpy(np.clip((features - mean) / scale, -LIMIT, LIMIT).astype(np.float32))
    optimiser = torch.optim.AdamW(leaves.values(), lr=rate, weight_decay=WEIGHT_DECAY)
    rng = np.random.default_rng([seed, 4])
    loss, mean_of = float("nan"), _LateMean(leaves, epochs * -(-len(lists) // LISTS_PER_STEP))
    for _ in range(epochs):
        order, losses = rng.permutation(lists), []
        for at in range(0, len(order), LISTS_PER_STEP):
            chosen = order[at : at + LISTS_PER_STEP]
            candidates, owners, right = _gather(starts, positives, chosen)
            counting = torch.from_numpy(weights[chosen])
            value = listwise_softmax(_score(leaves, standard[candidates]), owners, right, counting)
            optimiser.zero_grad()
            torch.autograd.backward(value)
            optimiser.step()
            losses.append(float(value.detach()) * float(counting.sum()))
            mean_of.add()
        loss = sum(losses) / float(weights[lists].sum())
    return Ranker({**mean_of.values, "mean": mean, "scale": scale, "trained": np.ones(1)}), loss


class _LateMean:
    """The mean of parameters over the last steps of so many."""

    def __init__(self, leaves: dict[str, Tensor], steps: int) -> None:
        self._leaves = leaves
        self._skipped = int((1.0 - AVERAGED) * steps)
        self._seen = 0
        self.values = {name: np.zeros(leaf.shape, np.float32) for name, leaf in leaves.items()}

    def add(self) -> None:
        """Takes in the parameters after one more step."""
        self._seen += 1
        if self._seen > self._skipped:
            for name, leaf in self._leaves.items():
                self.values[name] += (leaf.detach().numpy() - self.values[name]) / (self._seen - self._skipped)


def _start(ranker: Ranker, features: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The parameters to begin with: the ranker's own, or, the first time, the same scores on standardised features."""
    arrays = ranker.arrays()
    arrays.pop("trained")
    if ranker.trained:
        return arrays
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = features.std(axis=0, dtype=np.float64).astype(np.float32)
    scale = np.where(deviation > 1e-6, deviation, 1.0).astype(np.float32)
    rng = np.random.default_rng([seed, 5])
    inner = rng.normal(0.0, ranker.features**-0.5, (HIDDEN, ranker.features)).astype(np.float32)
    return {**arrays, "mean": mean, "scale": scale, "linear": arrays["linear"] * scale, "inner": inner}


def _gather(
    starts: npt.NDArray[np.int64], positives: npt.NDArray[np.int64], lists: npt.NDArray[np.int64]
) -> tuple[Tensor, Tensor, Tensor]:
    """Positions of the lists' candidates, the list each belongs to, and where each list's right one is among them."""
    lengths = starts[lists + 1] - starts[lists]
    begins = np.cumsum(lengths) - lengths
    candidates = np.repeat(starts[lists] - begins, lengths) + np.arange(lengths.sum())
    owners = np.repeat(np.arange(len(lists)), lengths)
    right = positives[lists] - starts[lists] + begins
    return torch.from_numpy(candidates), torch.from_numpy(owners), torch.from_numpy(right)


def _score(parameters: dict[str, Tensor], features: Tensor) -> Tensor:
    hidden = torch.relu(features @ parameters["inner"].T + parameters["bias"])
    return features @ parameters["linear"] + hidden @ parameters["outer"]
