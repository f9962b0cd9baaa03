"""The encoder as a torch module, for training: every position of a sequence asks, and sees what came before it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from models.encoding import EPSILON
from models.gaps import GAP_BUCKETS


class EncoderNetwork(nn.Module):
    """The block that `models.encoder` serves, parameter for parameter (see there for names and shapes)."""

    def __init__(self, parameters: Mapping[str, np.ndarray], dropout: float) -> None:
        super().__init__()
        for name, array in parameters.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(array, dtype=torch.float32)))
        self.heads, self.length = parameters["distances"].shape
        self.dropout = dropout

    def forward(self, items: Tensor, types: Tensor, gaps: Tensor, spans: Tensor, intents: Tensor) -> Tensor:
        """User vectors (B, L, D), normalised, one for each position.

        `items` (B, L, D) item vectors, padded at the end; `types` and `gaps` (B, L) codes; `spans` (B, L, L) the bucket
        of the time from event j to event i, at [i, j]; `intents` (B, L) the event type that each position asks for.
        """
        p = dict(self.named_parameters())
        batch, length, size = items.shape
        x = self._drop(items) + embedding(types, p["types"]) + embedding(gaps, p["gaps"])
        h = self._norm(x, p["norm1"])
        query, key, value = (self._split(h @ p[name].T) for name in ("query", "key", "value"))  # (B, H, L, D / H)
        scores = query @ key.transpose(-1, -2) / (size // self.heads) ** 0.5  # (B, H, L, L)
        at = torch.arange(length)
        back = at[:, None] - at[None, :]  # distance from the asking position to the one that answers
        scores = scores + embedding(back.clamp(min=0), p["distances"].T).permute(2, 0, 1)
        scores = scores + embedding(spans, p["recency"].T).permute(0, 3, 1, 2)
        weights = torch.softmax(scores.masked_fill(back < 0, -torch.inf), dim=-1)
        pooled = (weights @ value).transpose(1, 2).reshape(batch, length, size)
        y = x + self._drop(pooled @ p["output"].T)
        inner = torch.relu(self._norm(y, p["norm2"]) @ p["inner"].T + p["inner_bias"])
        y = y + self._drop(inner @ p["outer"].T + p["outer_bias"])
        users = nn.functional.normalize(self._norm(y, p["norm3"]), dim=-1)
        return nn.functional.normalize(users + embedding(intents, p["intents"]), dim=-1)

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters by name, as they are now."""
        return {name: parameter.detach().numpy().copy() for name, parameter in self.named_parameters()}

    def _split(self, x: Tensor) -> Tensor:
        batch, length, size = x.shape
        return x.view(batch, length, self.heads, size // self.heads).transpose(1, 2)

    def _drop(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.dropout, self.training)

    @staticmethod
    def _norm(x: Tensor, norm: Tensor) -> Tensor:
        return nn.functional.layer_norm(x, (x.shape[-1],), norm[0], norm[1], EPSILON)


def initial_parameters(
    *, dimensions: int, heads: int, length: int, inner: int, types: int, seed: int
) -> dict[str, np.ndarray]:
    """Fresh encoder parameters. The block's two outputs start small: at first a history is its last item.

    Raises ValueError if `dimensions` is not a multiple of `heads`.
    """
    if dimensions % heads:
        raise ValueError(f"{dimensions} dimensions cannot be split among {heads} heads")
    rng = np.random.default_rng([seed, 1])

    def normal(*shape: int, deviation: float) -> np.ndarray:
        return rng.normal(0.0, deviation, shape).astype(np.float32)

    norm = np.stack([np.ones(dimensions, np.float32), np.zeros(dimensions, np.float32)])
    width = dimensions**-0.5
    return {
        "types": normal(types, dimensions, deviation=0.02),
        "intents": np.zeros((types, dimensions), np.float32),
        "gaps": normal(GAP_BUCKETS + 1, dimensions, deviation=0.02),
        "distances": np.zeros((heads, length), np.float32),
        "recency": np.zeros((heads, GAP_BUCKETS), np.float32),
        "norm1": norm,
        "norm2": norm.copy(),
        "norm3": norm.copy(),
        "query": normal(dimensions, dimensions, deviation=width),
        "key": normal(dimensions, dimensions, deviation=width),
        "value": normal(dimensions, dimensions, deviation=width),
        "output": normal(dimensions, dimensions, deviation=0.1 * width),
        "inner": normal(inner, dimensions, deviation=width),
        "inner_bias": np.zeros(inner, np.float32),
        "outer": normal(dimensions, inner, deviation=0.1 * inner**-0.5),
        "outer_bias": np.zeros(dimensions, np.float32),
    }
