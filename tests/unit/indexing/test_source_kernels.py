"""The compiled loops of the sources against sorting, and the fast logarithm against the library's."""

from __future__ import annotations

import numpy as np
import pytest

from indexing.describing import log1p
from indexing.histories import HistoryBatch
from indexing.source_kernels import _greatest
from indexing.sources.covisitation import LAST_WEIGHTS, Covisitation


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 18, 100, 1_000])
@pytest.mark.parametrize("k", [0, 1, 7, 64])
@pytest.mark.parametrize("order", ["any", "rising", "falling"])
def test_the_greatest_are_those_that_sorting_puts_first(count: int, k: int, order: str) -> None:
    """As many as there are, at most k, whatever the order they come in."""
    numbers = np.random.default_rng(count).permutation(4 * count)[:count].astype(np.uint64)
    if order != "any":
        numbers = np.sort(numbers)[:: 1 if order == "rising" else -1].copy()
    expected = sorted(numbers.tolist(), reverse=True)[:k]
    out = np.zeros(count + 1, np.uint64)
    size = _greatest(numbers.copy(), count, k, out)
    assert sorted(out[:size].tolist(), reverse=True) == expected


def test_neighbours_of_many_items_are_those_of_plain_python() -> None:
    """Sums over the last eight different items, best first, equal ones in the order of their rows."""
    rng, count = np.random.default_rng(3), 400
    rows = np.concatenate([rng.permutation(count)[:90] for _ in range(count)]).astype(np.int32)
    scores = (rng.integers(1, 5, len(rows)) / 4).astype(np.float32)  # few different ones: many sums are equal
    source = Covisitation(np.arange(count + 1) * 90, rows, scores)
    history = rng.integers(0, count, 30).tolist()
    sums = np.zeros(count, np.float32)
    for item, weight in zip(dict.fromkeys(reversed(history)), LAST_WEIGHTS, strict=False):
        sums[rows[90 * item : 90 * item + 90]] += np.float32(weight) * scores[90 * item : 90 * item + 90]
    expected = sorted(np.flatnonzero(sums).tolist(), key=lambda row: (-sums[row], row))[:60]
    found, listed = source.candidates(HistoryBatch.of([history]), 60)
    assert found[0].tolist() == expected
    np.testing.assert_array_equal(listed[0], sums[expected])


@pytest.mark.parametrize("x", [0.0, 1e-30, 1e-8, 1e-4, 0.3, 1.0, 77.0, 1e6, 1e30])
def test_the_fast_logarithm_is_that_of_the_library(x: float) -> None:
    """To six digits and better, also where 1 + x is 1 in single precision."""
    np.testing.assert_allclose(log1p(np.float32(x)), np.log1p(np.float64(np.float32(x))), rtol=3e-7)
