"""How items are used within sessions, by hand."""

from __future__ import annotations

import numpy as np

from indexing.habits import NEVER, SMOOTHING, Habits
from indexing.histories import Interactions

LOG = Interactions.of([1, 2, 1, 2, 1], [0, 2, 1, 0, 0], [10, 20, 30, 40, 50], sessions=[7, 3, 7, 3, 7])


def test_counts_by_hand() -> None:
    """Sessions 0 1 0 and 2 0, told in turns: who begins, who ends, how many events; item 3 has none."""
    habits = Habits.build(LOG, 4)
    assert habits.counts.tolist() == [[2, 1, 2, 3], [1, 0, 0, 1], [1, 1, 0, 1], [0, 0, 0, 0]]
    assert habits.last_seen.tolist() == [50, 30, 20, NEVER]


def test_rates_are_against_what_is_usual() -> None:
    """Half of all visits begin a session; item 2 always does, item 1 never, and item 3 is held to be usual."""
    rates = Habits.build(LOG, 4).facts.rates
    usual = 2 / 4
    begun = np.log(np.array([1 + SMOOTHING * usual, SMOOTHING * usual, 1 + SMOOTHING * usual]) / usual)
    np.testing.assert_allclose(rates[:3, 0], begun - np.log(np.array([2, 1, 1]) + SMOOTHING), rtol=1e-5)
    np.testing.assert_allclose(rates[3], 0.0, atol=1e-7)
    assert rates[0, 1] > rates[1, 1]  # sessions end with it
    assert rates[0, 2] > 0 > rates[1, 2]  # it is met again


def test_nothing_is_known_of_an_empty_log() -> None:
    """No interactions: all items alike, none ever seen."""
    habits = Habits.build(Interactions.of([], [], []), 3)
    assert (habits.facts.rates == 0).all()
    assert (habits.facts.last_seen == NEVER).all()


def test_habits_survive_their_arrays() -> None:
    """What `from_arrays` makes of `arrays` is the same."""
    built = Habits.build(LOG, 4)
    again = Habits.from_arrays(built.arrays())
    np.testing.assert_array_equal(again.facts.rates, built.facts.rates)
    np.testing.assert_array_equal(again.last_seen, built.last_seen)
