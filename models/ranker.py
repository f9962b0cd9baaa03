"""From a candidate's features to its score: the serving side of the ranker, numpy alone.

    score(x) = linear . s + outer . relu(inner s + bias),   s = clip((x - mean) / scale)

The linear lane carries the hand-set start (nothing has been learned before the first clicks); the hidden layer begins
at zero and learns what the lane cannot say. `models.ranker_training` fits both.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from models.encoder import Floats

HIDDEN = 32
BLOCK = 1_024  # candidates scored at once
LIMIT = 8.0  # standard deviations; a feature further out is an accident of this moment, not a reason


class Ranker:
    """Parameters of F features.

    `mean`, `scale`, `linear` (F,), `inner` (HIDDEN, F), `bias` and `outer` (HIDDEN,), `trained` (1,), all float32.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}
        self._inner_t = np.ascontiguousarray(self._arrays["inner"].T, np.float64)

    @classmethod
    def untrained(cls, weights: np.ndarray) -> Ranker:
        """A linear ranker with the given (F,) weights on raw features, for the time before anything is learned."""
        count = len(weights)
        return cls(
            {
                "mean": np.zeros(count),
                "scale": np.ones(count),
                "linear": np.asarray(weights),
                "inner": np.zeros((HIDDEN, count)),
                "bias": np.zeros(HIDDEN),
                "outer": np.zeros(HIDDEN),
                "trained": np.zeros(1),
            }
        )

    @property
    def features(self) -> int:
        """F, the number of features it expects."""
        return int(self._arrays["linear"].shape[0])

    @property
    def trained(self) -> bool:
        """Whether it has ever been fitted."""
        return bool(self._arrays["trained"][0])

    def arrays(self) -> dict[str, np.ndarray]:
        """All parameters by name."""
        return dict(self._arrays)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Ranker:
        """The ranker that `arrays()` came from."""
        return cls(arrays)

    def score(self, features: np.ndarray) -> Floats:
        """Scores (M,) of candidates with features (M, F); only their order within one list means anything."""
        result = np.empty(len(features), np.float32)
        for start in range(0, len(features), BLOCK):
            result[start : start + BLOCK] = self._score(features[start : start + BLOCK])
        return result

    def _score(self, features: np.ndarray) -> Floats:
        """Scores of a part that fits in the processor's cache.

        BLAS sums in an order that depends on how many candidates there are: in double precision that is lost when
        rounding to single, so a candidate's score does not depend on who else is scored with it. einsum always sums in
        one order.
        """
        a = self._arrays
        s = np.clip((features - a["mean"]) / a["scale"], -LIMIT, LIMIT).astype(np.float32, copy=False)
        result = np.einsum("ij,j->i", s, a["linear"])
        if self.trained:
            hidden = (s.astype(np.float64) @ self._inner_t).astype(np.float32)
            hidden += a["bias"]
            result += np.einsum("ij,j->i", np.maximum(hidden, 0.0, out=hidden), a["outer"])
        return np.asarray(result, np.float32)
