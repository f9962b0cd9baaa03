"""Session neighbours, co-visitation and trending find what was planted."""

from __future__ import annotations

import numpy as np
import pytest

from indexing.histories import HistoryBatch, Interactions
from indexing.sources.covisitation import BACKWARD, FADE, FORWARD, HALF_LIFE_MS, Covisitation
from indexing.sources.sessions import SessionNeighbours
from indexing.trending import NEVER, Trending
from tests.worlds import HOUR, random_sessions, sessions_of

ALWAYS = sessions_of(*([[0, 1, 2 + n % 5] for n in range(20)] + [[7, 8]] * 3))  # 1 follows 0, always
Source = type[SessionNeighbours] | type[Covisitation]


@pytest.mark.parametrize("source", [SessionNeighbours, Covisitation])
def test_what_always_follows_comes_first(source: Source) -> None:
    """In twenty sessions 1 follows 0: asked after 0 both sources name 1 first, and never 7 or 8."""
    rows, scores = source.build(ALWAYS, 9).candidates(HistoryBatch.of([[0]]), 5)
    assert rows[0, 0] == 1
    assert not set(rows[0].tolist()) & {7, 8}
    assert (np.diff(scores[0]) <= 0).all()


@pytest.mark.parametrize("source", [SessionNeighbours, Covisitation])
def test_unknown_and_empty_histories_find_nothing(source: Source) -> None:
    """No history, unknown items and rows behind the source's own are passed over; the padding is -1 with score 0."""
    rows, scores = source.build(ALWAYS, 9).candidates(HistoryBatch.of([[], [-1], [500], [0, -1, 500]]), 4)
    assert (rows[:3] == -1).all()
    assert (scores[:3] == 0).all()
    assert rows[3, 0] == 1


@pytest.mark.parametrize("source", [SessionNeighbours, Covisitation])
def test_sources_survive_their_arrays(source: Source) -> None:
    """What `from_arrays` makes of `arrays` finds the same, the arrays being read-only."""
    built = source.build(ALWAYS, 9)
    batch = HistoryBatch.of([[0], [7], [1, 3]])
    again = source.from_arrays(built.arrays(), 9)
    for mine, theirs in zip(again.candidates(batch, 6), built.candidates(batch, 6), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert not any(array.flags.writeable for array in built.arrays().values())


@pytest.mark.parametrize("source", [SessionNeighbours, Covisitation])
def test_an_empty_log_is_a_source_that_finds_nothing(source: Source) -> None:
    """No interactions: every list is empty."""
    rows, _ = source.build(Interactions.of([], [], []), 3).candidates(HistoryBatch.of([[0, 1]]), 4)
    assert (rows == -1).all()


@pytest.mark.parametrize("source", [SessionNeighbours, Covisitation])
def test_a_list_does_not_depend_on_its_batch(source: Source) -> None:
    """Fifty histories asked together and one by one: equal rows, equal scores to the last bit."""
    built = source.build(random_sessions(60, 400, seed=1), 60)
    rng = np.random.default_rng(2)
    histories = [rng.integers(0, 60, rng.integers(1, 9)).tolist() for _ in range(50)]
    together = built.candidates(HistoryBatch.of(histories), 20)
    for user, history in enumerate(histories):
        alone = built.candidates(HistoryBatch.of([history]), 20)
        np.testing.assert_array_equal(alone[0][0], together[0][user])
        np.testing.assert_array_equal(alone[1][0], together[1][user])


def test_covisitation_by_hand() -> None:
    """One session 0 1 2, another, one half-life earlier, 0 2: neighbours of 0 and their weights."""
    interactions = Interactions.of(
        [1, 1, 2, 2, 2], [0, 2, 0, 1, 2], [0, 0, HALF_LIFE_MS, HALF_LIFE_MS, HALF_LIFE_MS], sessions=[0, 0, 1, 1, 1]
    )
    rows, scores = Covisitation.build(interactions, 3).neighbours(0)
    next_once, second = FORWARD, FORWARD * FADE + 0.5 * FORWARD  # of 1, and of 2
    assert rows.tolist() == ([2, 1] if second > next_once else [1, 2])
    expected = np.array(sorted([next_once, second], reverse=True)) / np.sqrt(next_once + second)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    rows, _ = Covisitation.build(interactions, 3).neighbours(1)
    assert rows.tolist() == ([2, 0] if FORWARD > BACKWARD else [0, 2])


def test_newer_sessions_count_more() -> None:
    """0 is followed by 1 in an old session and by 2 in a new one: both sources name 2 first."""
    interactions = sessions_of([0, 1], *[[5, 6]] * 200, [0, 2])
    for built in (SessionNeighbours.build(interactions, 7), Covisitation.build(interactions, 7)):
        rows, _ = built.candidates(HistoryBatch.of([[0]]), 2)
        assert rows[0].tolist() == [2, 1]


def test_the_last_item_counts_more() -> None:
    """Asked after 0 then 7, what follows 7 comes before what follows 0."""
    interactions = sessions_of([0, 1], [7, 8])
    for built in (SessionNeighbours.build(interactions, 9), Covisitation.build(interactions, 9)):
        rows, _ = built.candidates(HistoryBatch.of([[0, 7]]), 3)
        assert rows[0].tolist().index(8) < rows[0].tolist().index(1)


def test_trending_counts_by_hand() -> None:
    """An event one half-life old counts half, at each scale; the order is the day's."""
    now = 10 * 24 * HOUR
    interactions = Interactions.of([1, 2, 3], [0, 1, 1], [now - HOUR, now, now - 24 * HOUR])
    trending = Trending.build(interactions, 3, as_of=now)
    np.testing.assert_allclose(trending.counts[0], [0.5, 2 ** (-1 / 24), 2 ** (-1 / 168)], rtol=1e-6)
    np.testing.assert_allclose(trending.counts[1], [1 + 2.0**-24, 1.5, 1 + 2 ** (-1 / 7)], rtol=1e-6)
    assert trending.order.tolist() == [1, 0, 2]
    assert trending.top(5).tolist() == [1, 0]
    assert trending.first_seen.tolist() == [now - HOUR, now - 24 * HOUR, NEVER]
    rows, _ = trending.candidates(HistoryBatch.of([[], [0]]), 3)
    assert rows.tolist() == [[1, 0, -1]] * 2


def test_what_is_hot_this_hour_is_found_beside_what_is_popular_all_week() -> None:
    """Item 0 was popular for days, item 1 has a burst in the last minutes: each scale brings its own to the top."""
    week = [(0, hour * HOUR) for hour in range(160)]
    burst = [(1, 160 * HOUR + minute) for minute in range(20)]
    rows, times = zip(*(week + burst), strict=True)
    trending = Trending.build(Interactions.of([1] * len(rows), rows, times), 3, as_of=161 * HOUR)
    assert trending.counts[:, 0].argmax() == 1
    assert trending.counts[:, 2].argmax() == 0
    assert set(trending.top(2).tolist()) == {0, 1}
