"""The compiled loop of the ranker's serving side (numba): many candidates abreast, each with sums of its own.

`models.ranker` has the formula. A candidate's sums run in one order whoever else is scored, so its score does not
depend on its batch, to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

ABREAST = 128  # candidates, for which each weight is read once; what is kept of them fits into the nearest cache
WHOLE = 16  # to a multiple of which they are filled up: a processor's vectors, or two of them, are always full
UNITS, TERMS = 2, 4  # hidden units summed together, and terms of each sum added together; both are padded to these


@njit(cache=True, nogil=True, fastmath={"contract"})
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
    """Scores of candidates, `features` (M, F), into `out` (M,).

    `linear` (P,), `inner` (H, P), `bias` and `outer` (H,) are padded with zeros.
    """
    count, zero = features.shape[0], np.float32(0.0)
    standard, totals = np.zeros((linear.size, ABREAST), np.float32), np.zeros(ABREAST, np.float32)
    hidden = np.zeros((UNITS, ABREAST), np.float32)
    for first in range(0, count, ABREAST):
        here = min(ABREAST, count - first)
        lanes = (here + WHOLE - 1) // WHOLE * WHOLE
        for at in range(here):
            for feature in range(features.shape[1]):
                x = (features[first + at, feature] - mean[feature]) * inverse_scale[feature]
                x = limit if x > limit else x
                standard[feature, at] = -limit if x < -limit else x
        for lane in range(lanes):
            totals[lane] = zero
        for term in range(0, linear.size, TERMS):
            a, b, c, d = linear[term], linear[term + 1], linear[term + 2], linear[term + 3]
            for lane in range(lanes):
                total = totals[lane] + a * standard[term, lane] + b * standard[term + 1, lane]
                totals[lane] = total + c * standard[term + 2, lane] + d * standard[term + 3, lane]
        for unit in range(0, outer.size, UNITS):
            for lane in range(lanes):
                hidden[0, lane], hidden[1, lane] = bias[unit], bias[unit + 1]
            for term in range(0, linear.size, TERMS):
                a, b, c, d = inner[unit, term], inner[unit, term + 1], inner[unit, term + 2], inner[unit, term + 3]
                e, f = inner[unit + 1, term], inner[unit + 1, term + 1]
                g, h = inner[unit + 1, term + 2], inner[unit + 1, term + 3]
                for lane in range(lanes):
                    x, y = standard[term, lane], standard[term + 1, lane]
                    z, w = standard[term + 2, lane], standard[term + 3, lane]
                    hidden[0, lane] = hidden[0, lane] + a * x + b * y + c * z + d * w
                    hidden[1, lane] = hidden[1, lane] + e * x + f * y + g * z + h * w
            for lane in range(lanes):
                total = totals[lane] + outer[unit] * max(hidden[0, lane], zero)
                totals[lane] = total + outer[unit + 1] * max(hidden[1, lane], zero)
        for at in range(here):
            out[first + at] = totals[at]
