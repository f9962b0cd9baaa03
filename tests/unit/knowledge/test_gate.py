"""The gate's verdicts on reports made by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stream.knowledge.gate import judge
from stream.settings import ModelSettings

SETTINGS = ModelSettings(tolerance=0.01, index_tolerance=0.002)


def report(difference: float = 0.0, error: float = 0.0, cost: float = 0.0, **more: object) -> dict[str, Any]:
    gap = {"difference": difference, "standard_error": error}
    return {
        "loss": 4.0,
        "ranker_loss": None,
        "held_out": {"queries": 2_000, "candidate": {"recall@20": 0.4}, "parent": {"recall@20": 0.4 - difference}},
        "against_parent": {"recall@20": gap, "mrr@20": {"difference": 0.0, "standard_error": 0.0}},
        "index": {"recall": 0.9, "cost": cost},
        "not_finite": [],
    } | more


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (report(), True),
        (report(0.2), True),  # better
        (report(-0.009), True),  # within the tolerance
        (report(-0.011), False),  # beyond it, and no sampling error to explain it
        (report(-0.011, 0.001), True),  # 0.01 + 1.645 x 0.001 allows 0.011645
        (report(-0.012, 0.001), False),
        (report(-0.5, 0.3), True),  # a few queries prove nothing: 0.01 + 1.645 x 0.3 allows 0.5035
        (report(cost=0.002), True),
        (report(cost=0.0021), False),
        (report(not_finite=["item_vectors"]), False),
        (report(loss=math.nan), False),
        (report(ranker_loss=math.inf), False),
    ],
)
def test_verdicts(given: dict[str, Any], passed: bool) -> None:
    """A verdict has reasons exactly when it refuses."""
    verdict = judge(given, SETTINGS)
    assert verdict.passed is passed
    assert bool(verdict.reasons) is not passed


def test_a_first_artifact_is_compared_with_nobody() -> None:
    """Without held-out events and without a parent what is finite passes."""
    first: dict[str, Any] = {"loss": None, "not_finite": [], "enough": False}
    assert judge(first, SETTINGS).passed


def test_every_reason_is_named() -> None:
    """A person reads what is wrong, with the numbers."""
    verdict = judge(report(-0.3, cost=0.1, not_finite=["tower.identities"]), SETTINGS)
    assert len(verdict.reasons) == 3
    assert "tower.identities" in verdict.reasons[0]
    assert "0.3000 below the parent's" in verdict.reasons[1]
    assert "0.1000 of Recall@20" in verdict.reasons[2]
