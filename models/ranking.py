"""The compiled loop of the ranker's serving side (numba): one candidate after the other, each alone.

`models.ranker` has the formula. A candidate's sums run in one order whoever else is scored, so its score does not
depend on its batch, to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

LANES = 16  # features are padded to a multiple of these: sums run over whole vectors of the processor
REASSOCIATED = {"reassoc", "contract"}  # sums of products may be vectorised; NaN and infinity stay what they are


@njit(cache=True, nogil=True, fastmath=REASSOCIATED)
def score(
    features: Any,
    mean: Any,
    inverse_scale: Any,
    limit: Any,
    linear: Any,
    inner: Any,
    bias: Any,
    outer: Any,
    out: Any,
) -> None:
    """Scores of candidates, `features` (M, F), into `out` (M,); `linear` (P,) and `inner` (hidden, P) are padded."""
    standard = np.zeros(linear.size, np.float32)
    for candidate in range(features.shape[0]):
        for feature in range(features.shape[1]):
            x = (features[candidate, feature] - mean[feature]) * inverse_scale[feature]
            x = limit if x > limit else x
            standard[feature] = -limit if x < -limit else x
        total = np.float32(0.0)
        for feature in range(standard.size):
            total += linear[feature] * standard[feature]
        for unit in range(outer.size):
            hidden = bias[unit]
            for feature in range(standard.size):
                hidden += inner[unit, feature] * standard[feature]
            total += outer[unit] * (hidden if hidden > 0.0 else np.float32(0.0))
        out[candidate] = total
