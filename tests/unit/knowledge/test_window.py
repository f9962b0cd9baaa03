"""The window: columns in log order, sessions, trimming, and what it holds of each partition."""

from __future__ import annotations

import pytest

from stream.knowledge.window import PartitionBounds, Window

TYPES = ("click", "purchase")
HALF_HOUR = 1_800_000


def ids(window: Window) -> list[str]:
    return [window.item_ids[number] for number in window.column("items").tolist()]


def test_columns_are_in_log_order() -> None:
    """Users and items are numbered as they appear, types by the table."""
    window = Window(TYPES)
    window.append("u", "a", "click", 10, partition=3, offset=7)
    window.append("v", "b", "purchase", 5, partition=1, offset=0)
    window.append("u", "a", "click", 20, partition=3, offset=9)
    assert len(window) == 3
    assert window.column("users").tolist() == [0, 1, 0]
    assert ids(window) == ["a", "b", "a"]
    assert window.column("types").tolist() == [0, 1, 0]
    assert window.column("times").tolist() == [10, 5, 20]
    assert window.bounds() == {1: PartitionBounds(0, 1, 5, 5, 1), 3: PartitionBounds(7, 10, 10, 20, 2)}


def test_sessions_without_ids_end_with_a_pause_of_more_than_half_an_hour() -> None:
    """Half an hour is still one session; users have their own; a late event far in the past begins a new one."""
    window = Window(TYPES)
    times = [("u", 0), ("v", 0), ("u", HALF_HOUR), ("u", 2 * HALF_HOUR + 1), ("v", 1), ("u", 2 * HALF_HOUR), ("u", 0)]
    for user, time in times:
        window.append(user, "a", "click", time)
    assert window.column("sessions").tolist() == [0, 1, 0, 2, 1, 2, 3]


def test_session_ids_hold_within_a_user() -> None:
    """The same id of two users is two sessions; two sessions of one user may alternate."""
    window = Window(TYPES)
    for user, session in [("u", "s"), ("v", "s"), ("u", "t"), ("u", "s")]:
        window.append(user, "a", "click", 10**9, session_id=session)
    assert window.column("sessions").tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("keep", [0, 1, 999, 2_000, 5_000])
def test_trimming_keeps_the_newest_and_forgets_names(keep: int) -> None:
    """After many trims the columns equal those of the log's end, and no name of what is gone is kept."""
    window = Window(TYPES)
    for at in range(5_000):
        window.append(
            f"u{at // 4}", f"i{at // 2}", "click", at * HALF_HOUR, session_id=None if at % 3 else f"s{at // 9}"
        )
        if at % 700 == 0:
            window.trim(keep)
    window.trim(keep)
    assert ids(window) == [f"i{at // 2}" for at in range(5_000 - keep, 5_000)]
    assert window.column("times").tolist() == [at * HALF_HOUR for at in range(5_000 - keep, 5_000)]
    if keep <= 1:
        assert window.user_count < 2_000


def test_sessions_go_on_after_a_trim() -> None:
    """An event of a session from before the trim joins it, by id and by time; a new one gets a new number."""
    window = Window(TYPES)
    for at in range(3_000):
        window.append(f"old{at}", "a", "click", 0)
    window.append("u", "a", "click", 0, session_id="s")
    window.append("v", "a", "click", 0)
    window.trim(2)
    window.append("u", "b", "click", 0, session_id="s")
    window.append("v", "b", "click", 1)
    window.append("w", "b", "click", 1)
    sessions = window.column("sessions").tolist()
    assert sessions[2:4] == sessions[:2]
    assert sessions[4] not in sessions[:4]


def test_an_event_type_that_is_not_in_the_table_is_the_callers_mistake() -> None:
    """It raises, and nothing is added."""
    window = Window(TYPES)
    with pytest.raises(KeyError):
        window.append("u", "a", "dance", 0)
    assert len(window) == 0
