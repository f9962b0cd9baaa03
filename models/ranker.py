"""From a candidate's features to its score: the serving side of the ranker.

    score(x) = linear . s + outer . relu(inner s + bias),   s = clip((x - mean) / scale)

The linear lane carries the hand-set start (nothing has been learned before the first clicks); the hidden layer begins
at zero and learns what the lane cannot say. `models.ranker_training` fits both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from models import ranking
from models.encoder import Floats

HIDDEN = 32
LIMIT = 8.0  # standard deviations; a feature further out is an accident of this moment, not a reason


class Ranker:
    """Parameters of F features.

    `mean`, `scale`, `linear` (F,), `inner` (HIDDEN, F), `bias` and `outer` (HIDDEN,), `trained` (1,), all float32.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}

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

    def for_features(self, written: Sequence[str], wanted: Sequence[str]) -> Ranker:
        """The ranker of features named `written`, for those named `wanted`; one that it has never seen weighs nothing.

        Raises ValueError if it has not as many features as `written`.
        """
        if len(written) != self.features:
            raise ValueError(f"a ranker of {self.features} features cannot be that of {len(written)}")
        if tuple(written) == tuple(wanted):
            return self
        places = {name: place for place, name in enumerate(written)}
        order = np.array([places.get(name, len(written)) for name in wanted])
        unseen = {"mean": 0.0, "scale": 1.0, "linear": 0.0}
        fitted = {name: np.append(self._arrays[name], np.float32(value))[order] for name, value in unseen.items()}
        inner = np.pad(self._arrays["inner"], ((0, 0), (0, 1)))[:, order]
        return Ranker({**self._arrays, **fitted, "inner": inner})

    def score(self, features: np.ndarray) -> Floats:
        """Scores (M,) of candidates with features (M, F); only their order within one list means anything."""
        result = np.empty(len(features), np.float32)
        ranking.score(np.ascontiguousarray(features, np.float32), *self._compiled, result)
        return result

    @cached_property
    def _compiled(self) -> tuple[Any, ...]:
        """The parameters as the compiled loop takes them; without hidden units before anything is learned."""
        a, units = self._arrays, HIDDEN if self.trained else 0
        terms, hidden = -self.features % ranking.TERMS, -len(a["outer"][:units]) % ranking.UNITS
        return (
            a["mean"],
            np.float32(1.0) / a["scale"],
            np.float32(LIMIT),
            np.pad(a["linear"], (0, terms)),
            np.pad(a["inner"][:units], ((0, hidden), (0, terms))),
            np.pad(a["bias"][:units], (0, hidden)),
            np.pad(a["outer"][:units], (0, hidden)),
        )
