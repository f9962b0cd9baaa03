"""The protocols on planted logs whose right numbers are known: who is asked, when, and what counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from stream.evaluation.log_file import EventLog
from stream.evaluation.protocols import (
    Plan,
    leave_last_out,
    periods,
    prequential,
    refreshes_by_events,
    refreshes_by_time,
)
from stream.settings import ModelSettings, Settings

TYPES = Settings().event_types()
SMALL = ModelSettings(dimensions=16, length=10, inner=16, token_buckets=64, negatives=32, batch_events=256)
MINUTE = 60_000


def log_of(events: Sequence[tuple[str, str, int]], kinds: Sequence[str] | None = None) -> EventLog:
    """A log of (user, item, period), one event a minute; a user is a session."""
    users = list(dict.fromkeys(user for user, _, _ in events))
    items = list(dict.fromkeys(item for _, item, _ in events))
    return EventLog(
        users,
        items,
        np.array([users.index(user) for user, _, _ in events]),
        np.array([items.index(item) for _, item, _ in events]),
        np.array([TYPES.code(kind) for kind in kinds or ["click"] * len(events)]),
        np.arange(len(events)) * MINUTE,
        np.array([period for _, _, period in events]),
        None,
    )


def plan(model: str, against: Sequence[str] = (), cutoffs: Sequence[int] = (2, 20), sample: float = 1.0) -> Plan:
    return Plan(
        model=model,
        against=against,
        cutoffs=cutoffs,
        sample=sample,
        seed=1,
        event_types=TYPES,
        settings=SMALL,
        window_events=1_000_000,
        clock=lambda: 0.0,
    )


# Period 0: a and b meet three times, c and d once. Half-lives make the later of two equally frequent items the more
# popular one, so the order of popularity is b, a, d, c.
LEARNED = [("u1", "a", 0), ("u1", "b", 0), ("u2", "a", 0), ("u2", "b", 0), ("u3", "a", 0), ("u3", "b", 0)]
LEARNED += [("u4", "c", 0), ("u4", "d", 0)]
ASKED = [
    ("v1", "a", 1),
    ("v1", "b", 1),  # asked: co-visitation rank 1, popularity rank 1
    ("v2", "c", 1),
    ("v2", "d", 1),  # asked: co-visitation rank 1, popularity rank 3
    ("v3", "b", 1),
    ("v3", "c", 1),  # asked: co-visitation does not know it, popularity rank 4
    ("v4", "a", 1),
    ("v4", "new", 1),  # an item that nobody has seen: not asked, counted as unseen
    ("v5", "new", 1),
    ("v5", "a", 1),  # of the user only an unseen item is known: not asked
]


def test_periods_on_a_planted_log() -> None:
    """Three queries with known ranks: 1, 1, none for co-visitation and 1, 3, 4 for popularity."""
    result = periods(log_of(LEARNED + ASKED), plan("covisitation", ["popular"]))
    assert result["queries"] == 3
    assert result["unseen"] == 1
    assert result["mean"]["recall@20"] == pytest.approx(2 / 3)
    assert result["mean"]["mrr@20"] == pytest.approx(2 / 3)
    popular = result["against"]["popular"]
    assert popular["recall@20"] == 1.0
    assert popular["recall@2"] == pytest.approx(1 / 3)
    assert popular["mrr@20"] == pytest.approx((1 + 1 / 3 + 1 / 4) / 3)
    assert popular["mrr@2"] == pytest.approx(1 / 3)
    assert popular["ndcg@20"] == pytest.approx((1 + 1 / 2 + 1 / np.log2(5)) / 3)
    assert [(one["period"], one["queries"]) for one in result["periods"]] == [(1, 3)]


def test_the_mean_weighs_periods_equally() -> None:
    """One query right of one, then none of two: the mean over periods is 1/2, not 1/3."""
    later = [("w1", "a", 2), ("w1", "c", 2), ("w2", "a", 2), ("w2", "d", 2)]
    result = periods(log_of([*LEARNED, ("v1", "a", 1), ("v1", "b", 1), *later]), plan("covisitation"))
    assert [one["queries"] for one in result["periods"]] == [1, 2]
    assert result["mean"]["recall@20"] == pytest.approx(1 / 2)


def test_nothing_of_a_period_is_known_while_it_is_asked_for() -> None:
    """x and y first meet in period 1, twenty times: every question for y fails there, and is right in period 2."""
    seen = [("s1", "x", 0), ("s2", "y", 0)]
    pairs = [(f"v{at}", item, 1) for at in range(20) for item in ("x", "y")]
    result = periods(log_of([*seen, *pairs, ("w", "x", 2), ("w", "y", 2)]), plan("covisitation"))
    assert [(one["queries"], one["recall@20"]) for one in result["periods"]] == [(20, 0.0), (1, 1.0)]


def test_the_users_own_state_is_live_within_a_period() -> None:
    """After x and then a, the newest event counts most: b is asked for from a, not from x alone."""
    result = periods(log_of([*LEARNED, ("v", "c", 1), ("v", "a", 1), ("v", "b", 1)]), plan("covisitation", cutoffs=[1]))
    assert result["periods"][0]["queries"] == 2
    assert result["mean"]["recall@1"] == 1 / 2  # c -> a is not known, a -> b is


def test_events_that_nobody_wanted_are_not_asked_for() -> None:
    """A dislike is context, never a target."""
    events = [*LEARNED, ("v1", "a", 1), ("v1", "b", 1)]
    result = periods(log_of(events, ["click"] * (len(events) - 1) + ["dislike"]), plan("covisitation"))
    assert result["queries"] == 0


def test_a_sample_asks_some_users_and_learns_from_all() -> None:
    """Half of 400 users, the same ones in every run; each asked one is answered as with all."""
    events = LEARNED + [(f"v{at}", item, 1) for at in range(400) for item in ("a", "b")]
    result = periods(log_of(events), plan("covisitation", sample=0.5))
    assert 120 < result["queries"] < 280
    assert result["mean"]["recall@20"] == 1.0
    assert result == periods(log_of(events), plan("covisitation", sample=0.5))


def test_prequential_on_a_planted_log() -> None:
    """Refreshes before events 4 and 8: nothing is asked before the first, unseen items are misses."""
    events = [("u1", "a", 0), ("u1", "b", 0), ("u2", "a", 0), ("u2", "b", 0)]  # learned at 4
    events += [("u3", "a", 0), ("u3", "b", 0), ("u4", "c", 0), ("u4", "d", 0)]  # asked: b rank 1; d unseen, a miss
    events += [("u5", "c", 0), ("u5", "d", 0)]  # learned at 8, asked: d rank 1
    result = prequential(log_of(events), plan("covisitation"), [4, 8])
    assert [(one["queries"], one["unseen"], one["recall@20"]) for one in result["periods"]] == [
        (2, 1, 0.5),
        (1, 0, 1.0),
    ]
    assert result["mean"]["recall@20"] == pytest.approx(2 / 3)
    assert result["queries"] == 3


def test_refreshes_by_events_and_by_event_time() -> None:
    """Every three of eight events; and whenever two minutes have passed, one event a minute."""
    log = log_of([("u", "a", 0)] * 8)
    assert refreshes_by_events(log, 3) == [3, 6]
    assert refreshes_by_time(log, 2 * MINUTE) == [2, 4, 6]


def test_leave_last_out_asks_for_each_users_last_event() -> None:
    """Learned are u1: a, b and u2: a; asked is for b of u2."""
    log = log_of([("u1", "a", 0), ("u1", "b", 0), ("u2", "a", 0), ("u2", "b", 0), ("u1", "d", 0), ("u3", "a", 0)])
    result = leave_last_out(log, plan("covisitation"))
    # u3 has one event only, its last, with nothing before it; d of u1 is unseen
    assert (result["queries"], result["unseen"]) == (1, 1)
    assert result["mean"]["recall@20"] == 1.0


@pytest.mark.parametrize("model", ["full", "neural", "sessions"])
def test_all_models_answer(model: str) -> None:
    """A ring of items, walked by everybody: each of them finds the next place among twenty of thirty."""
    rng = np.random.default_rng(0)
    events = []
    for user in range(160):
        start = int(rng.integers(30))
        events += [(f"u{user}", f"i{(start + step) % 30}", int(user >= 130)) for step in range(5)]
    result = periods(log_of(events), plan(model, ["popular"]))
    assert result["queries"] == 30 * 4
    assert result["mean"]["recall@20"] > 0.9
    assert 0 < result["coverage"] <= 1
    assert set(result["seconds"]) == {"fit", "answer"}
