"""The protocols on planted logs whose right numbers are known: who is asked, when, and what counts."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from stream.evaluation.event_log import ItemNews, with_items
from stream.evaluation.protocols import (
    leave_last_out,
    periods,
    prequential,
    refresh_once,
    refreshes_by_events,
    refreshes_by_time,
)
from stream.wire.messages import Item
from tests.planted_logs import MINUTE, SMALL, log_of, plan

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
    assert refresh_once(log) == [1]


def test_a_late_event_is_no_reason_to_refresh_twice() -> None:
    """Times 0, 3, 1, 4 minutes: two minutes have passed once, and again at minute four."""
    log = log_of([("u", "a", 0)] * 4)
    log.times[:] = np.array([0, 3, 1, 4]) * MINUTE
    assert refreshes_by_time(log, 2 * MINUTE) == [1, 3]


def test_prequential_refreshed_by_event_time() -> None:
    """One event a minute, refreshed every four: the planted log above, cut at the same places."""
    users = ["u1", "u1", "u2", "u2", "u3", "u3", "u4", "u4", "u5", "u5"]
    log = log_of([(user, item, 0) for user, item in zip(users, "ababababab", strict=True)])
    result = prequential(log, plan("covisitation", cutoffs=[1]), refreshes_by_time(log, 4 * MINUTE))
    assert [(one["period"], one["queries"], one["recall@1"]) for one in result["periods"]] == [(1, 2, 1.0), (2, 1, 1.0)]
    assert result["refreshes"] == {"published": 2, "refused": 0}


def test_prequential_reports_known_and_cold_targets_apart() -> None:
    """Learned are a and b. Asked: b (right), c (nobody touched it), c again: still cold, no refresh came between."""
    events = [("u1", "a", 0), ("u1", "b", 0), ("u2", "a", 0), ("u2", "b", 0), ("u3", "a", 0), ("u3", "c", 0)]
    events += [("u4", "a", 0), ("u4", "c", 0)]
    result = prequential(log_of(events), plan("covisitation", ["popular"]), [2])
    assert (result["queries"], result["unseen"]) == (3, 2)
    assert result["mean"]["recall@20"] == pytest.approx(1 / 3)
    assert (result["known"]["queries"], result["known"]["recall@20"]) == (1, 1.0)
    assert (result["cold"]["queries"], result["cold"]["recall@20"]) == (2, 0.0)
    assert result["known"]["against"]["popular"]["recall@20"] == 1.0


MEETING = [("s1", "x", 0), ("s2", "y", 0)]  # learned, never together
PAIRS = [(f"v{at}", item, 1) for at in range(20) for item in ("x", "y")]


def test_memories_rebuilt_within_a_period_know_what_has_happened_in_it() -> None:
    """x and y first meet in period 1, twenty times; memories are rebuilt after ten of them: ten of twenty are right."""
    log = log_of([*MEETING, *PAIRS])
    for refreshes in ([22], refreshes_by_events(log, 22), refreshes_by_time(log, 22 * MINUTE)):
        result = periods(log, plan("covisitation"), refreshes)
        assert (result["queries"], result["mean"]["recall@20"]) == (20, 1 / 2)
    assert periods(log, plan("covisitation"))["mean"]["recall@20"] == 0.0


def test_a_rebuild_in_the_middle_of_a_session_neither_loses_nor_repeats_an_event() -> None:
    """Rebuilt between x and y of the eleventh pair: that y is the first right answer of ten."""
    result = periods(log_of([*MEETING, *PAIRS]), plan("covisitation"), [23])
    assert (result["queries"], result["mean"]["recall@20"]) == (20, 1 / 2)


def test_items_new_in_a_period_are_listed_after_a_rebuild_and_counted_apart() -> None:
    """y is new in period 1: the published protocol does not ask for it; apart, six of ten come after the rebuild."""
    log = log_of([("s1", "x", 0), ("s2", "a", 0), *PAIRS[:20]])
    result = periods(log, plan("covisitation"), [10])
    assert (result["queries"], result["unseen"]) == (0, 10)
    assert (result["cold"]["queries"], result["cold"]["recall@20"]) == (10, 6 / 10)


def test_the_frozen_baseline_is_never_refreshed() -> None:
    """c and d first meet in period 1: in period 2 co-visitation knows it, the first artifact never will."""
    events = [("s1", "c", 0), ("s2", "d", 0), ("s3", "c", 1), ("s3", "d", 1), ("s4", "c", 2), ("s4", "d", 2)]
    result = periods(log_of(events), plan("covisitation", ["frozen"]))
    assert [one["recall@20"] for one in result["periods"]] == [0.0, 1.0]
    assert [one["against"]["frozen"]["recall@20"] for one in result["periods"]] == [0.0, 0.0]


def walks(users: int, period_of_last: int = 30) -> list[tuple[str, str, int]]:
    """Walks around a ring of thirty items, the last ones in period 1."""
    rng = np.random.default_rng(0)
    starts = rng.integers(30, size=users).tolist()
    return [
        (f"u{user}", f"i{(start + step) % 30}", int(user >= users - period_of_last))
        for user, start in enumerate(starts)
        for step in range(5)
    ]


def test_a_version_that_the_gate_refuses_is_not_used() -> None:
    """Every later version would have to be better by five: all are refused, and the first one answers to the end."""
    strict = msgspec.structs.replace(SMALL, tolerance=-5.0)
    log = log_of(walks(200))
    result = prequential(log, plan("full", ["frozen"], settings=strict), [400, 600, 800])
    assert result["refreshes"] == {"published": 1, "refused": 2}
    assert result["mean"] == result["against"]["frozen"]
    easy = prequential(log, plan("full", settings=SMALL), [400, 600, 800])
    assert easy["refreshes"] == {"published": 3, "refused": 0}


def test_what_the_gate_calls_broken_never_answers() -> None:
    """A learning rate that is no number makes vectors that are none: refused, and so nobody is asked."""
    broken = msgspec.structs.replace(SMALL, learning_rate=float("nan"))
    result = prequential(log_of(walks(100)), plan("full", settings=broken), [200, 400])
    assert result["refreshes"] == {"published": 0, "refused": 2}
    assert result["queries"] == 0


def test_hidden_items_are_known_from_the_catalogue_alone() -> None:
    """Of no hidden item is an event learned; its last event is asked for, and only contents can answer."""
    log = log_of(walks(150))
    hiding = plan("full", hide_items=0.3)
    hidden = {item_id for item_id in log.item_ids if hiding.hidden(item_id)}
    assert 3 < len(hidden) < 18
    last = {user: item for user, item, _ in walks(150)}
    first_events = {user: [item for who, item, _ in walks(150) if who == user and item not in hidden] for user in last}
    cold = sum(last[user] in hidden and bool(first_events[user]) for user in last)
    told = with_items(log, [Item(item_id, title=item_id) for item_id in log.item_ids])
    nothing, contents = leave_last_out(log, hiding), leave_last_out(told, plan("full", cutoffs=[30], hide_items=0.3))
    assert nothing["cold"]["queries"] == contents["cold"]["queries"] == cold
    assert nothing["cold"]["recall@20"] == 0.0
    assert contents["cold"]["recall@30"] == 1.0  # a list of thirty holds all thirty items
    assert nothing["known"]["queries"] + cold == nothing["queries"]


def test_news_of_items_come_no_sooner_than_they_stand_in_the_log() -> None:
    """n is described after the first question for it: that one cannot be right, the one after the next refresh can."""
    log = log_of([*walks(60, 0), ("w1", "i1", 0), ("w1", "n", 0), ("w2", "i1", 0), ("w2", "n", 0)])
    told = replace(log, news=[ItemNews(303, "n", Item("n", title="n"))])
    late = prequential(told, plan("full", cutoffs=[40]), [300, 302])
    assert (late["cold"]["queries"], late["cold"]["recall@40"]) == (1, 0.0)
    early = prequential(with_items(log, [Item("n", title="n")]), plan("full", cutoffs=[40]), [300, 302])
    assert (early["cold"]["queries"], early["cold"]["recall@40"]) == (1, 1.0)


def test_leave_last_out_asks_for_each_users_last_event() -> None:
    """Learned are u1: a, b and u2: a; asked is for b of u2 and for d of u1, which nobody has seen: a miss, and cold."""
    log = log_of([("u1", "a", 0), ("u1", "b", 0), ("u2", "a", 0), ("u2", "b", 0), ("u1", "d", 0), ("u3", "a", 0)])
    result = leave_last_out(log, plan("covisitation"))
    # u3 has one event only, its last, with nothing before it
    assert (result["queries"], result["unseen"]) == (2, 1)
    assert result["mean"]["recall@20"] == 1 / 2
    assert (result["known"]["queries"], result["known"]["recall@20"]) == (1, 1.0)
    assert (result["cold"]["queries"], result["cold"]["recall@20"]) == (1, 0.0)


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
    assert result["refreshes"] == {"published": 1, "refused": 0}
