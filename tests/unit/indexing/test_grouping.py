"""The counting sort against comparing, and sessions against grouping by hand."""

from __future__ import annotations

import numpy as np
import pytest

from indexing.grouping import grouped, reduced
from indexing.histories import Interactions


@pytest.mark.parametrize(("size", "count"), [(0, 3), (1, 1), (1_000, 7), (1_000, 5_000)])
def test_the_order_is_that_of_a_stable_sort(size: int, count: int) -> None:
    """Whatever there is of each number, none included."""
    keys = np.random.default_rng(size + count).integers(count, size=size).astype(np.int32)
    assert grouped(keys, count).tolist() == np.argsort(keys, kind="stable").tolist()


def test_extremes_by_hand() -> None:
    """The least and the greatest of each number's values; number 1 has none."""
    values, keys = np.array([5, 3, 9, 4]), np.array([2, 0, 2, 0], np.int32)
    assert reduced(np.minimum, values, keys, 3, -1).tolist() == [3, -1, 5]
    assert reduced(np.maximum, values, keys, 3, -1).tolist() == [4, -1, 9]
    assert reduced(np.maximum, values[:0], keys[:0], 2, 7).tolist() == [7, 7]


@pytest.mark.parametrize("scale", [1, 1_000_003])
def test_sessions_are_newest_first_whatever_their_numbers(scale: int) -> None:
    """Numbers close together or far apart: the lists that a dictionary makes, by their last interaction."""
    rng = np.random.default_rng(4)
    sessions, items = rng.integers(40, size=300), rng.integers(25, size=300)
    found = Interactions.of(np.zeros(300), items, np.arange(300), sessions=sessions * scale).by_session
    by_hand: dict[int, list[int]] = {}
    ends: dict[int, int] = {}
    for at, (session, item) in enumerate(zip(sessions.tolist(), items.tolist(), strict=True)):
        by_hand.setdefault(session, []).append(item)
        ends[session] = at
    newest = sorted(by_hand, key=lambda session: -ends[session])
    lists = [found.items[start:end].tolist() for start, end in zip(found.starts, found.starts[1:], strict=False)]
    assert lists == [by_hand[session] for session in newest]
    assert found.ends.tolist() == [ends[session] for session in newest]
