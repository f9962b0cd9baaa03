"""Confidence intervals on distributions whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from stream.evaluation.bootstrap import BUCKETS, Floats, Scored, interval, resampled


def drawn(*parts: Scored, by_part: bool = False, seed: int = 1) -> Floats:
    users = np.unique(np.concatenate([part.users for part in parts]))
    return resampled(parts, users, seed, by_part=by_part)


def alike(rng: np.random.Generator, users: int, queries: int) -> Scored:
    """Each user succeeds with a chance of their own, uniform between 0 and 1: the mean of all is 1/2."""
    chances = np.repeat(rng.random(users), queries)
    return Scored(np.repeat(np.arange(users), queries), (rng.random(users * queries) < chances)[:, None].astype(float))


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """200 logs of 150 users with ten alike queries each: 95 % of the intervals hold 1/2 (within three errors: 90..100).

    Queries drawn one by one would make intervals half as wide, which hold it in about 60 %.
    """
    rng = np.random.default_rng(5)
    hits = naive = 0
    for trial in range(200):
        part = alike(rng, 150, 10)
        low, high = interval(drawn(part, seed=trial)[:, 0])
        hits += low <= 0.5 <= high
        error = 1.96 * part.values.std() / np.sqrt(len(part.values))
        naive += abs(part.values.mean() - 0.5) <= error
    assert 180 <= hits <= 199
    assert naive < 160


def test_many_users_in_groups_vary_as_they_do_one_by_one() -> None:
    """50,000 users of one query each: half the width is 1.96 standard errors of a mean, within a tenth."""
    rng = np.random.default_rng(2)
    values = (rng.random(50_000) < 0.3)[:, None].astype(float)
    low, high = interval(drawn(Scored(np.arange(50_000), values))[:, 0])
    assert len(values) > BUCKETS
    assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(0.3 * 0.7 / 50_000), rel=0.1)
    assert (high + low) / 2 == pytest.approx(values.mean(), abs=5e-4)


def test_differences_are_paired() -> None:
    """Two recommenders that differ by exactly .1 for everybody: no doubt about the difference, whatever the users."""
    values = np.random.default_rng(3).random((400, 1))
    found = drawn(Scored(np.arange(400), np.hstack([values + 0.1, values])))
    assert interval(found[:, 0] - found[:, 1]) == pytest.approx([0.1, 0.1])
    low, high = interval(found[:, 0])
    assert high - low > 0.03


def test_parts_weigh_the_same_where_they_are_periods() -> None:
    """Nine queries of 1 and one of 0, in two periods: the means are 1/2 and 9/10, and one user is in both."""
    one, two = Scored(np.arange(9), np.ones((9, 1))), Scored(np.array([8]), np.zeros((1, 1)))
    assert drawn(one, two, by_part=False).mean() == pytest.approx(0.9, abs=0.01)
    by_part = drawn(one, two, by_part=True)
    without_user_8 = np.isclose(by_part, 1.0)  # then the second period has nobody, and does not count
    assert set(np.round(by_part[~without_user_8], 6)) == {0.5}
    assert without_user_8.mean() == pytest.approx((8 / 9) ** 9, abs=0.05)


def test_one_user_proves_nothing() -> None:
    """No interval where nothing can be drawn anew; the same seed draws the same."""
    assert len(drawn(Scored(np.zeros(5, np.int64), np.ones((5, 1))))) == 0
    part = alike(np.random.default_rng(0), 20, 2)
    assert np.array_equal(drawn(part), drawn(part))
    assert not np.array_equal(drawn(part), drawn(part, seed=2))
