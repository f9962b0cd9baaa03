"""Session neighbours over random worlds, against plain Python."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from indexing.histories import HistoryBatch, Interactions
from indexing.sources import sessions as source
from indexing.sources.sessions import SessionNeighbours

COUNT = 7
rows = st.integers(0, COUNT - 1)


def by_hand(sessions: list[list[int]], history: list[int], per_item: int) -> dict[int, float]:
    """What the module's docstring says: the newest sessions of the last items, their weights, the places around."""
    last = list(dict.fromkeys(row for row in reversed(history) if row >= 0))[: len(source.LAST_WEIGHTS)]
    likeness: dict[int, float] = defaultdict(float)
    place: dict[int, int] = {}
    for item, weight in zip(last, source.LAST_WEIGHTS, strict=False):
        holding = [number for number, session in enumerate(sessions) if len(session) > 1 and item in session]
        holding = holding[::-1][:per_item]
        for number in holding:
            age = (len(sessions) - 1 - number) * source.HALF_LIFE_MS
            recency = 0.5 ** (age / source.HALF_LIFE_MS)
            likeness[number] += weight * recency / np.sqrt(len(sessions[number])) / np.sqrt(len(holding))
            last_place = len(sessions[number]) - 1 - sessions[number][::-1].index(item)
            place.setdefault(number, last_place)
    sums: dict[int, float] = defaultdict(float)
    for number, like in likeness.items():
        for near, row in enumerate(sessions[number]):
            distance = near - place[number]
            if distance and abs(distance) <= source.WINDOW:
                side = source.FORWARD if distance > 0 else source.BACKWARD
                sums[row] += like * side * source.FADE ** (abs(distance) - 1)
    return dict(sums)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(rows, min_size=1, max_size=9), min_size=1, max_size=8),
    st.lists(st.integers(-1, COUNT - 1), max_size=6),
    st.integers(1, 4),
)
def test_neighbours_as_in_plain_python(sessions: list[list[int]], history: list[int], per_item: int) -> None:
    """The same items with the same scores, best first, whatever the sessions and however few of each item are kept."""
    users = [number for number, session in enumerate(sessions) for _ in session]
    items = [row for session in sessions for row in session]
    times = [number * source.HALF_LIFE_MS for number in users]
    built = SessionNeighbours.build(
        Interactions.of(users, items, times, sessions=users), COUNT, sessions_per_item=per_item
    )
    found, scores = built.candidates(HistoryBatch.of([history]), COUNT)
    expected = by_hand(sessions, history, per_item)
    listed = found[0][found[0] >= 0].tolist()
    assert set(listed) == set(expected)
    np.testing.assert_allclose(scores[0][: len(listed)], [expected[row] for row in listed], rtol=1e-4)
    assert (np.diff(scores[0]) <= 0).all()


def test_only_the_most_like_sessions_are_looked_at() -> None:
    """More sessions match than are looked at: what stands only in those that match least is not found."""
    alike = [[0, 1, 2]] * source.NEIGHBOURS
    others = [[0, 3]] * 20
    sessions = [*others, *alike]
    users = [number for number, session in enumerate(sessions) for _ in session]
    built = SessionNeighbours.build(
        Interactions.of(users, [row for session in sessions for row in session], users, sessions=users), 4
    )
    found, _ = built.candidates(HistoryBatch.of([[1, 0]]), 4)
    assert set(found[0].tolist()) == {-1, 1, 2}
    found, _ = built.candidates(HistoryBatch.of([[0]]), 4)
    assert set(found[0].tolist()) == {-1, 1, 2, 3}  # after 0 alone the shorter sessions are the more alike
