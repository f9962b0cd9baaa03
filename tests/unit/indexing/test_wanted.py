"""What is wanted in which way, and what leads to it, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from indexing.histories import HistoryBatch, Interactions
from indexing.sources.conversions import FADE, HALF_LIFE_MS, Conversions
from indexing.wanted import HALF_LIFE_MS as WEEK
from indexing.wanted import SMOOTHING, Wanted

CLICK, BUY = 0, 1


def test_counts_are_by_type_and_decay_with_a_week() -> None:
    """Two clicks now and a purchase a week ago: 2 and a half."""
    log = Interactions.of([1, 1, 1], [0, 0, 1], [WEEK, WEEK, 0], types=[CLICK, CLICK, BUY])
    counts = Wanted.build(log, 2, 3, as_of=WEEK).counts
    assert counts.tolist() == [[2.0, 0.0], [0.0, 0.5], [0.0, 0.0]]


def test_rates_compare_an_item_with_all() -> None:
    """Of 80 events 8 are purchases. An item with 2 of 10 is bought more often than usual, one with 0 of 30 less."""
    counts = np.zeros((3, 3), np.float32)
    counts[CLICK], counts[BUY] = [8, 30, 34], [2, 0, 6]
    facts = Wanted(counts).facts
    assert SMOOTHING == 10.0
    assert facts.rarities.tolist() == pytest.approx([-np.log(0.9), -np.log(0.1), 0.0])
    assert facts.rates[BUY].tolist() == pytest.approx(np.log([3 / 20 / 0.1, 1 / 40 / 0.1, 7 / 50 / 0.1]).tolist())
    assert facts.rates[CLICK, 0] == pytest.approx(np.log((17 / 20) / 0.9))
    assert not facts.rates[2].any()
    assert facts.popularity[BUY].tolist() == pytest.approx(np.log1p([2, 0, 6]).tolist())


def test_before_anything_was_counted_nothing_is_said() -> None:
    """All zeros, and finite."""
    facts = Wanted.nothing(4, 2).facts
    assert not any(part.any() for part in facts)


def log_of(*users: list[tuple[int, int]]) -> Interactions:
    """Histories of (item, type), a minute a step, all at one time of their own user's."""
    rows = [(user, item, step * 60_000, kind) for user, history in enumerate(users) for step, (item, kind) in
            enumerate(history)]  # fmt: skip
    columns = list(zip(*rows, strict=True))
    return Interactions.of(*columns[:3], types=columns[3])


def test_conversions_are_what_was_bought_after() -> None:
    """Clicks on 0 and 1, then 1 is bought: the last click on 1 leads to it with weight 1, the one on 0 with FADE."""
    log = log_of([(0, CLICK), (1, CLICK), (1, BUY)], [(2, CLICK), (0, CLICK)])
    source = Conversions.build(log, 4)
    assert source.types.tolist() == [BUY]
    assert source.starts.tolist() == [0, 1, 2, 2, 2]
    assert source.rows.tolist() == [1, 1]
    assert source.scores.tolist() == pytest.approx([FADE**0.5, 1.0])
    rows, scores = source.candidates(HistoryBatch.of([[0], [0], [3, 9]], intents=[BUY, CLICK, BUY]), 2)
    assert rows.tolist() == [[1, -1], [-1, -1], [-1, -1]]
    assert scores[0].tolist() == pytest.approx([FADE**0.5, 0.0])


def test_the_best_of_each_item_come_first_and_older_purchases_count_less() -> None:
    """From 0 users buy 1 twice and 2 once, both now; 3 once a half-life ago."""
    users = [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    items = [0, 3, 0, 1, 0, 2, 0, 1, 5, 5]
    times = [0, 0, *[HALF_LIFE_MS] * 8]
    log = Interactions.of(users, items, times, types=[CLICK, BUY] * 4 + [CLICK, CLICK])
    source = Conversions.build(log, 6)
    total = 2 + 1 + 0.5
    assert source.rows.tolist() == [1, 2, 3]
    assert source.scores.tolist() == pytest.approx([2 / total**0.5, 1 / total**0.5, 0.5 / total**0.5])
    assert Conversions.build(log, 6, most=2).rows.tolist() == [1, 2]


def test_a_log_of_one_type_has_no_conversions() -> None:
    """Whatever is asked for; and so has an empty one."""
    log = log_of([(0, BUY), (1, BUY)])
    for source in (Conversions.build(log, 3), Conversions.build(Interactions.of([], [], []), 3)):
        rows, scores = source.candidates(HistoryBatch.of([[0], [1]], intents=[BUY, CLICK]), 5)
        assert (rows == -1).all()
        assert not scores.any()
