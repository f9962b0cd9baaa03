"""Measures against tables computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models import quality

LISTS = np.array([[7, 3, 9], [1, 2, 4], [5, 8, -1], [-1, -1, -1]])
TARGETS = np.array([9, 1, 6, -1])  # third place, first place, not there, unknown


def test_ranks_of_targets() -> None:
    """Places are counted from one; padding is never a hit."""
    assert quality.ranks_of(TARGETS, LISTS).tolist() == [3, 1, 0, 0]


def test_exact_ranks_by_hand() -> None:
    """Scores 3, 1, 2 and 0, 0, 5: the item with 2 is second, one of two zeros is third, and NaN has no rank."""
    users = np.array([[1.0, 0.0], [0.0, 1.0], [np.nan, 0.0]])
    vectors = np.array([[3.0, 0.0], [1.0, 0.0], [2.0, 5.0]])
    assert quality.exact_ranks(users, vectors, np.array([2, 0, 1])).tolist() == [2, 3, 0]
    assert quality.exact_ranks(users[:0], vectors, np.zeros(0, int)).tolist() == []


@pytest.mark.parametrize(
    ("measure", "k", "expected"),
    [
        (quality.recall, 1, 1 / 4),
        (quality.recall, 2, 1 / 4),
        (quality.recall, 3, 2 / 4),
        (quality.mrr, 2, 1 / 4),
        (quality.mrr, 3, (1 / 3 + 1) / 4),
        (quality.ndcg, 3, (1 / 2 + 1) / 4),  # 1 / log2(1 + 3) = 1/2
        (quality.ndcg, 1, 1 / 4),
    ],
)
def test_measures(measure: object, k: int, expected: float) -> None:
    """Recall, MRR and NDCG of the table above, as fractions."""
    assert callable(measure)
    assert measure(quality.ranks_of(TARGETS, LISTS), k) == pytest.approx(expected)


def test_nothing_asked_is_nothing_found() -> None:
    """No query gives 0, not a division by zero."""
    none = np.zeros(0, np.int64)
    assert quality.recall(none, 20) == quality.mrr(none, 20) == quality.ndcg(none, 20) == 0.0
    assert quality.coverage(np.zeros((0, 20), np.int64), 0) == 0.0


def test_coverage_counts_items_once() -> None:
    """Six distinct items of ten... of the table: 7 3 9 1 2 4 5 8 are eight of sixteen."""
    assert quality.coverage(LISTS, 16) == 8 / 16


def test_paired_difference() -> None:
    """Differences 1, 0, 0, 1: mean 1/2, sample deviation sqrt(1/3), standard error sqrt(1/12)."""
    mean, error = quality.difference(np.array([1, 0, 1, 1]), np.array([0, 0, 1, 0]))
    assert mean == 0.5
    assert error == pytest.approx(math.sqrt(1 / 12))
    assert quality.difference(np.array([1.0]), np.array([0.0])) == (1.0, math.inf)
