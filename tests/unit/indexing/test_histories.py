"""Flat histories, sessions from columns."""

from __future__ import annotations

import numpy as np

from indexing.histories import HistoryBatch, Interactions, session_lists


def test_histories_keep_their_order_and_owner() -> None:
    """Taking users by number gives their histories, in the order asked for, empty ones too."""
    batch = HistoryBatch.of([[4, -1, 2], [], [7]], now=[10, 20, 30])
    assert batch.known().tolist() == [2, 0, 1]
    taken = batch.take(np.array([2, 1, 0]))
    assert taken.rows.tolist() == [7, 4, -1, 2]
    assert taken.starts.tolist() == [0, 1, 1, 4]
    assert taken.now.tolist() == [30, 20, 10]


def test_sessions_end_after_a_pause_and_come_newest_first() -> None:
    """Two users interleaved, user 1 pauses for longer than the gap: the session with the newest last event is first."""
    interactions = Interactions.of([1, 2, 1, 2, 1], [10, 20, 11, 21, 12], [0, 50, 100, 150, 900], gap_ms=200)
    assert interactions.sessions.tolist() == [0, 2, 0, 2, 1]
    lists = session_lists(interactions)
    assert lists.items.tolist() == [12, 20, 21, 10, 11]
    assert lists.starts.tolist() == [0, 1, 3, 5]
    assert lists.ends.tolist() == [900, 150, 100]


def test_of_a_long_session_the_newest_entries_stay() -> None:
    """A session of seven, cut to three, keeps its last three; a shorter one is whole."""
    interactions = Interactions.of([1] * 7 + [2, 2], range(9), range(9), sessions=[5] * 7 + [6] * 2)
    lists = session_lists(interactions, longest=3)
    assert lists.items.tolist() == [7, 8, 4, 5, 6]
    assert lists.starts.tolist() == [0, 2, 5]


def test_nothing_has_no_sessions() -> None:
    """An empty log is no error."""
    assert len(session_lists(Interactions.of([], [], []))) == 0
