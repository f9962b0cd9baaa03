"""Live prequential scores: against which list an event is held, and under which name it is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.metrics import WorkerMetrics
from stream.queries import ScoredEvents
from stream.settings import EventSettings
from stream.state.row import decode_state, encode_state
from stream.state.user_state import UserState
from stream.wire.decoding import Decoder
from stream.worker.batch import Served, Touched, decode, fold
from stream.worker.measuring import KEPT, NewestArtifacts
from stream.worker.scoring import Score, score
from tests.records import chunk, event, record

DECODER = Decoder(EventSettings())
EVERYTHING = ScoredEvents(frozenset({"click", "cart", "purchase"}))
Rows = dict[tuple[int, bytes], bytes]


def touched_by(
    *records: tuple[int, object], rows: Rows | None = None, scored: ScoredEvents = EVERYTHING
) -> list[Touched]:
    chunks = [chunk(*(record(offset, value) for offset, value in records))]
    held = rows or {}
    return fold(decode(chunks, DECODER), lambda partition, user: held.get((partition, user)), scored)


def served(*item_ids: str, artifact: str = "a1") -> Rows:
    return {(0, b"u"): encode_state(UserState(offset=0, last_artifact=artifact, last_items=list(item_ids)))}


def test_a_hit_is_counted_at_its_rank() -> None:
    """Ranks 1, 11 and none: two hits at 20, one at 10, reciprocal ranks 1 + 1/11; a dislike is no target."""
    listed = [f"i{place}" for place in range(1, 21)]
    scored = [
        score(touched_by((1, event("u", *what)), rows=served(*listed)), [], ["elsewhere", "i11"])
        for what in (("i1",), ("i11",), ("elsewhere",), ("i2", "dislike"))
    ]
    total = sum((one.events for one in scored), Counter())
    assert total == {("a1", "click"): 3}
    assert sum((one.hits for one in scored), Counter()) == {(10, ("a1", "click")): 1, (20, ("a1", "click")): 2}
    assert sum((one.popular_hits for one in scored), Counter()) == {(10, "click"): 2, (20, "click"): 2}
    assert sum(sum(one.reciprocal_ranks.values()) for one in scored) == pytest.approx(1 + 1 / 11)


def test_who_was_never_served_is_not_scored() -> None:
    """A first event has no list before it, nor has a replayed one."""
    (first,) = touched_by((1, event("u", "i1")))
    assert not score([first], [], ["i1"]).events
    first.state.last_items = ["i1"]
    replayed = touched_by((1, event("u", "i1")), rows={(0, b"u"): encode_state(first.state)})
    assert not score(replayed, [], ["i1"]).events
    assert decode_state(encode_state(first.state)).last_items == ["i1"]


def test_within_a_burst_each_event_is_asked_for_from_the_state_before_it() -> None:
    """The first against the served list, later ones against lists from what came before; no retry, no dislike."""
    (user,) = touched_by(
        (1, event("u", "a", event_id="e1")), (2, event("u", "b")), (3, event("u", "a", event_id="e1")),
        (4, event("u", "c", "dislike")), (5, event("u", "d")), rows=served("a", "x"),
    )  # fmt: skip
    asked = [(one.event.item_id, None if one.state is None else one.state.items) for one in user.asked]
    assert asked == [("a", None), ("b", ["a"]), ("d", ["a", "b", "c"])]
    between = [Served("a2", ["y", "b"]), Served("a2", ["d"])]
    scored = score([user], between, [])
    assert scored.events == {("a1", "click"): 1, ("a2", "click"): 2}
    assert scored.reciprocal_ranks == {"a1": 1.0, "a2": pytest.approx(1 / 2 + 1)}


def test_a_share_of_the_events_within_bursts_is_scored() -> None:
    """By lot, the same wherever the event is looked at; the first event of each burst is scored in any case."""
    log = [(at, event(f"u{at % 100}", "i1")) for at in range(1, 1_000)]
    held = {(0, f"u{number}".encode()): encode_state(UserState(offset=0, last_items=["i1"])) for number in range(100)}
    few = ScoredEvents(EVERYTHING.kinds, bursts=0.25)
    asked = [one for user in touched_by(*log, rows=held, scored=few) for one in user.asked]
    assert sum(one.state is None for one in asked) == 100
    assert sum(one.state is not None for one in asked) == sum(
        few.in_burst(b"u%d" % (at % 100), at) for at in range(101, 1_000)
    )
    assert 0.2 < (len(asked) - 100) / 899 < 0.3
    none = [
        one for user in touched_by(*log, rows=held, scored=ScoredEvents(few.kinds, bursts=0.0)) for one in user.asked
    ]
    assert len(none) == 100


def test_a_burst_of_somebody_new_is_scored_from_the_second_event_on() -> None:
    """There is a list after the first event, though nobody was sent it yet."""
    (user,) = touched_by((1, event("u", "a")), (2, event("u", "b")))
    assert score([user], [Served("a1", ["b"])], []).events == {("a1", "click"): 1}


LOGS = st.lists(
    st.tuples(st.sampled_from("uvw"), st.sampled_from("abcd"), st.sampled_from(("click", "purchase", "dislike"))),
    min_size=1,
    max_size=30,
)


@given(LOGS, st.sets(st.integers(1, 29)))
def test_scores_do_not_depend_on_where_micro_batches_end(log: Sequence[tuple[str, str, str]], cuts: set[int]) -> None:
    """Any cut of a log into micro-batches gives the scores of one event at a time."""
    one_by_one = played(log, range(1, len(log)))
    assert played(log, cuts) == one_by_one
    firsts = {user for user, _, _ in log}
    scored = sum(count for (_, count) in one_by_one.events.items())
    positive = [user for user, _, kind in log if kind != "dislike"]
    assert len(positive) - len(firsts) <= scored <= len(positive)


def played(log: Sequence[tuple[str, str, str]], cuts: range | set[int]) -> Score:
    """A worker whose list is always the history, the newest first."""
    rows: Rows = {}
    total = Score()
    bounds = [0, *sorted(cut for cut in cuts if cut < len(log)), len(log)]
    for begin, end in pairwise(bounds):
        records = [(at, event(*log[at])) for at in range(begin, end)]
        touched = touched_by(*records, rows=rows)
        between = [
            Served("a1", asked.state.items[::-1]) for user in touched for asked in user.asked if asked.state is not None
        ]
        part = score(touched, between, ["a"])
        total.events += part.events
        total.hits += part.hits
        total.popular_hits += part.popular_hits
        for user in touched:
            user.state.last_artifact, user.state.last_items = "a1", user.state.items[::-1]
            rows[user.partition, user.user_id.encode()] = encode_state(user.state)
    return total


def test_only_a_few_artifacts_have_names() -> None:
    """The one that serves and the newest others; a dropped one's series end, and it is `older` ever after."""
    metrics = WorkerMetrics()
    newest = NewestArtifacts(metrics)
    assert newest.names([None, "a0"], "a0") == {None: "none", "a0": "a0"}
    metrics.artifact_events.labels("a0", "click").inc()
    metrics.artifact_hits.labels("a0", "20", "click").inc()
    metrics.artifact_reciprocal_rank.add(1, 0.5, "a0")
    assert b"a0" in metrics.text()
    later = [f"a{number}" for number in range(1, KEPT + 1)]
    assert newest.names(later, later[-1]) == {name: name for name in later}
    assert b"a0" not in metrics.text()
    assert newest.names(["a0", None], later[-1]) == {"a0": "older", None: "none"}
    rolled_back = newest.names(["a0", "a1", "a2"], "a0")
    assert rolled_back == {"a0": "a0", "a1": "older", "a2": "a2"}
