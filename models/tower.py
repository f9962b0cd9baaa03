"""From an item to its vector: the serving side of the item tower, numpy alone.

    v = normalise(g(count) * identity + content),   g(count) = count / (count + halfway)

`content` is the mean of the hashed tokens' embeddings plus a price-bucket embedding. The gate lets an item that nobody
has touched be pure content, and its own history take over as it grows. An item with neither has the zero vector: no
search finds it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from models.encoder import Floats, normalise
from models.features import Features

AT_ONCE = 4_096  # items whose words' embeddings are gathered together: a million items' would take gigabytes


class ItemTower:
    """Tables of one version: `identities` (N, D), `tokens` (buckets, D), `prices` (PRICE_BUCKETS, D), `halfway` ()."""

    def __init__(self, identities: np.ndarray, tokens: np.ndarray, prices: np.ndarray, halfway: float) -> None:
        self.identities = np.asarray(identities, np.float32)
        self.tokens = np.asarray(tokens, np.float32)
        self.prices = np.asarray(prices, np.float32)
        self.halfway = float(halfway)

    @property
    def dimensions(self) -> int:
        """D, the length of an item vector."""
        return int(self.tokens.shape[1])

    @property
    def buckets(self) -> int:
        """The number of hash buckets of tokens."""
        return int(self.tokens.shape[0])

    def arrays(self) -> dict[str, np.ndarray]:
        """All tables by name."""
        return {
            "identities": self.identities,
            "tokens": self.tokens,
            "prices": self.prices,
            "halfway": np.array([self.halfway], np.float32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> ItemTower:
        """The tower that `arrays()` came from."""
        return cls(arrays["identities"], arrays["tokens"], arrays["prices"], float(arrays["halfway"][0]))

    def gate(self, counts: np.ndarray) -> Floats:
        """How much of an item's identity counts, 0..1, by the number of its events."""
        counts = np.asarray(counts, np.float32)
        return np.asarray(counts / (counts + np.float32(self.halfway)), np.float32)

    def encode_features(self, features: Features) -> Floats:
        """Vectors (n, D) of items that have no row, from content alone; zero where there is none."""
        return normalise(self.content(features))

    def encode_items(self, counts: np.ndarray, features: Features) -> Floats:
        """Vectors (N, D) of the items that have a row: `counts` (N,), `features` of N items."""
        return normalise(self.gate(counts)[:, None] * self.identities + self.content(features))

    def content(self, features: Features) -> Floats:
        """The content part, not normalised, (n, D)."""
        result = np.zeros((len(features), self.dimensions), np.float32)
        lengths = np.diff(features.starts)
        filled = np.flatnonzero(lengths)
        for begin in range(0, len(filled), AT_ONCE):
            part = filled[begin : begin + AT_ONCE]
            first, last = features.starts[part[0]], features.starts[part[-1] + 1]
            sums = np.add.reduceat(self.tokens[features.tokens[first:last]], features.starts[part] - first, axis=0)
            result[part] = sums / lengths[part, None]
        priced: npt.NDArray[np.bool_] = features.prices > 0
        result[priced] += self.prices[features.prices[priced]]
        return result
