"""The measures of a whole evaluation against a table counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.quality import ranks_of
from stream.evaluation.tally import Counted, condensed, coverage_of, scores, summary


def counted(period: int, ranks: list[int], others: list[int], cold: list[int], counts: list[int]) -> Counted:
    return Counted(
        period,
        period * 86_400_000,
        np.arange(len(ranks)),
        np.array(cold, np.bool_),
        np.array(counts, np.bool_),
        {"full": np.array(ranks), "popular": np.array(others)},
        {"full": {"a", "b"} if period else {"a"}, "popular": {"a"}},
        4,
        np.where(np.arange(len(ranks)) % 2, "purchase", "click"),
    )


FIRST = counted(0, [1, 3, 0, 11], [2, 0, 0, 0], cold=[0, 0, 0, 0], counts=[1, 1, 1, 1])
SECOND = counted(1, [2, 7, 20], [0, 20, 1], cold=[0, 1, 0], counts=[1, 0, 1])  # ranks 2 and 20 count


def test_by_hand() -> None:
    """Recall, MRR and NDCG at 10 and 20, over queries and over periods, the model and its baseline."""
    over_queries = summary([FIRST, SECOND], [10, 20], ["full", "popular"], 1, by_period=False)
    third, second, twelfth, twenty_first = (1 / np.log2(1 + rank) for rank in (3, 2, 11, 20))
    assert over_queries["mean"] == pytest.approx(
        {
            "recall@10": 3 / 6,
            "mrr@10": (1 + 1 / 3 + 1 / 2) / 6,
            "ndcg@10": (1 + third + second) / 6,
            "recall@20": 5 / 6,
            "mrr@20": (1 + 1 / 3 + 1 / 11 + 1 / 2 + 1 / 20) / 6,
            "ndcg@20": (1 + third + twelfth + second + twenty_first) / 6,
        }
    )
    over_periods = summary([FIRST, SECOND], [10, 20], ["full", "popular"], 1, by_period=True)
    assert over_periods["mean"]["recall@10"] == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert over_periods["mean"]["mrr@20"] == pytest.approx(((1 + 1 / 3 + 1 / 11) / 4 + (1 / 2 + 1 / 20) / 2) / 2)
    assert over_periods["against"]["popular"]["recall@20"] == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert over_periods["differences"]["popular"]["recall@20"]["difference"] == pytest.approx((3 / 4 + 1) / 2 - 3 / 8)
    assert (over_periods["queries"], over_periods["unseen"]) == (6, 1)
    assert [one["begins"] for one in over_periods["periods"]] == [
        "1970-01-01T00:00:00.000Z",
        "1970-01-02T00:00:00.000Z",
    ]


def test_another_library_says_the_same() -> None:
    """Forty random lists of twenty: RecTools' Recall, MRR and NDCG (`tests/golden/rectools_metrics.py`)."""
    made = json.loads((Path(__file__).parents[2] / "golden" / "rectools_metrics.json").read_text("utf-8"))
    lists, targets = np.array(made["lists"]), np.array(made["targets"])
    assert scores(ranks_of(targets, lists), [1, 5, 10, 20]) == pytest.approx(made["measures"], abs=1e-12)


def test_known_and_cold_targets() -> None:
    """The query that does not count is the cold one: rank 7 of the model, rank 20 of the baseline."""
    found = summary([FIRST, SECOND], [10], ["full", "popular"], 1, by_period=True)
    assert found["cold"]["queries"] == 1
    assert found["cold"]["recall@10"] == 1.0
    assert found["cold"]["against"]["popular"]["recall@10"] == 0.0
    assert found["known"]["queries"] == 6
    assert found["known"]["recall@10"] == pytest.approx(3 / 6)


def test_measures_by_the_event_type_of_the_target() -> None:
    """Every other target is a purchase: ranks 3 and 11 of those that count; one type alone makes no groups."""
    found = summary([FIRST, SECOND], [10], ["full", "popular"], 1, by_period=True)["by_type"]
    assert {kind: group["queries"] for kind, group in found.items()} == {"click": 4, "purchase": 2}
    assert found["purchase"]["recall@10"] == 1 / 2
    assert found["click"]["mrr@10"] == pytest.approx((1 + 1 / 2) / 4)
    assert found["click"]["against"]["popular"]["recall@10"] == 2 / 4
    alone = FIRST._replace(types=np.array(["click"] * 4))
    assert summary([alone], [10], ["full", "popular"], 1, by_period=True)["by_type"] == {}


def test_intervals_hold_the_values() -> None:
    """Every measure has one, for the model, its baseline and their difference."""
    found = summary([FIRST, SECOND], [20], ["full", "popular"], 1, by_period=False)
    for name, value in found["mean"].items():
        low, high = found["intervals"][name]
        assert low <= value <= high
        low, high = found["differences"]["popular"][name]["interval"]
        assert low <= found["differences"]["popular"][name]["difference"] <= high


def test_nothing_counted() -> None:
    """An empty evaluation has empty means, and no share of nothing."""
    found = summary([], [10], ["full"], 1, by_period=True)
    assert (found["mean"], found["queries"], found["coverage"], found["intervals"]) == ({}, 0, 0.0, {})
    assert found["cold"]["queries"] == 0


def test_coverage() -> None:
    """Two of four items stood in a list."""
    assert coverage_of([FIRST, SECOND], "full") == 0.5


def test_periods_put_together_weigh_queries() -> None:
    """3/4 of four queries and 1 of two are 5/6 of six."""
    periods = summary([FIRST, SECOND], [20], ["full", "popular"], 1, by_period=True)["periods"]
    together = condensed(periods, 1)
    assert len(together) == 1
    assert together[0]["queries"] == 6
    assert together[0]["recall@20"] == pytest.approx(5 / 6)
    assert together[0]["against"]["popular"]["recall@20"] == pytest.approx(2 / 6)
    assert condensed(periods, 5) == periods
    assert condensed([], 5) == []
