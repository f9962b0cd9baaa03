"""The compiled loop of the ranker's serving side (numba): four candidates abreast, each with sums of its own.

`models.ranker` has the formula. A candidate's sums run in one order whoever else is scored, so its score does not
depend on its batch, to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

LANES = 16  # features are padded to a multiple of these: sums run over whole vectors of the processor
ABREAST = 4  # candidates for which each weight is read once
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
    count, zero = features.shape[0], np.float32(0.0)
    standard = np.zeros((ABREAST, linear.size), np.float32)
    for first in range(0, count, ABREAST):
        here = min(ABREAST, count - first)
        for at in range(here):
            for feature in range(features.shape[1]):
                x = (features[first + at, feature] - mean[feature]) * inverse_scale[feature]
                x = limit if x > limit else x
                standard[at, feature] = -limit if x < -limit else x
        total_0 = total_1 = total_2 = total_3 = zero
        for feature in range(linear.size):
            weight = linear[feature]
            total_0 += weight * standard[0, feature]
            total_1 += weight * standard[1, feature]
            total_2 += weight * standard[2, feature]
            total_3 += weight * standard[3, feature]
        for unit in range(outer.size):
            hidden_0 = hidden_1 = hidden_2 = hidden_3 = bias[unit]
            for feature in range(linear.size):
                weight = inner[unit, feature]
                hidden_0 += weight * standard[0, feature]
                hidden_1 += weight * standard[1, feature]
                hidden_2 += weight * standard[2, feature]
                hidden_3 += weight * standard[3, feature]
            total_0 += outer[unit] * max(hidden_0, zero)
            total_1 += outer[unit] * max(hidden_1, zero)
            total_2 += outer[unit] * max(hidden_2, zero)
            total_3 += outer[unit] * max(hidden_3, zero)
        totals = (total_0, total_1, total_2, total_3)
        for at in range(here):
            out[first + at] = totals[at]
