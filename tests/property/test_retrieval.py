"""Filters, lists and unions over random worlds, against plain Python."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from indexing.histories import HistoryBatch, Interactions, session_lists, split_sessions
from indexing.sources.covisitation import BACKWARD, FADE, FORWARD, HALF_LIFE_MS, WINDOW, Covisitation
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.serving import LivePopularity, Serving
from stream.wire.messages import Filters, Item, PriceRange
from tests.worlds import clicked, random_sessions, small_snapshot

COUNT = 40
SNAPSHOT = small_snapshot(random_sessions(COUNT, 120, seed=21), COUNT)
NAMES = [f"i{row}" for row in range(COUNT)] + [f"n{number}" for number in range(12)]

names = st.sampled_from(NAMES)
words = st.sampled_from(["a", "b", "c", "d"])
prices = st.none() | st.sampled_from([0.0, 1.0, 2.5, 10.0, 99.0])


@st.composite
def records(draw: st.DrawFn) -> tuple[str, Item | None]:
    """A record of `items`: an item with any attributes missing, or a tombstone."""
    name = draw(names)
    if draw(st.integers(0, 5)) == 0:
        return name, None
    values: dict[str, Any] = {
        "category": draw(st.none() | words | st.lists(words, max_size=3)),
        "brand": draw(st.none() | words),
        "price": draw(prices),
        "tags": draw(st.none() | st.lists(words, max_size=3)),
        "available": draw(st.booleans() | st.just(True)),
    }
    return name, Item(name, title=name, **values)


def bounds(low: float | None, high: float | None) -> PriceRange:
    return PriceRange(min=low, max=high)


filters = st.builds(
    Filters,
    category=st.none() | words | st.lists(words, min_size=1, max_size=2),
    brand=st.none() | words | st.lists(words, min_size=1, max_size=2),
    price=st.none() | st.builds(bounds, prices, prices),
    tags=st.none() | st.lists(words, min_size=1, max_size=2),
    exclude_items=st.lists(names, max_size=4),
    exclude_purchased=st.booleans(),
    exclude_seen=st.booleans(),
)


def as_set(wanted: str | list[str]) -> set[str]:
    return {wanted} if isinstance(wanted, str) else set(wanted)


def passes(name: str, item: Item | None, wanted: Filters) -> bool:
    """The contract's filters, one item at a time. An item without a record has no attribute."""
    known = Item(name) if item is None else item
    price = wanted.price
    return (
        known.available
        and (not wanted.category or bool(as_set(wanted.category) & set(known.category_path())))
        and (not wanted.brand or known.brand in as_set(wanted.brand))
        and (not wanted.tags or bool(set(wanted.tags) & set(known.tags or ())))
        and (
            price is None
            or (
                known.price is not None
                and (price.min is None or known.price >= price.min)
                and (price.max is None or known.price <= price.max)
            )
        )
    )


@settings(max_examples=150, deadline=None)
@given(
    before=st.lists(records(), max_size=40),
    after=st.lists(records(), max_size=20),
    history=st.lists(names, max_size=8),
    bought=st.booleans(),
    wanted=filters,
    count=st.integers(1, 60),
    learned=st.booleans(),
)
def test_lists_hold_exactly_what_the_filters_let_through(
    *,
    before: list[tuple[str, Item | None]],
    after: list[tuple[str, Item | None]],
    history: list[str],
    bought: bool,
    wanted: Filters,
    count: int,
    learned: bool,
) -> None:
    """Whatever came before and after the snapshot: a list never holds what does not pass, repeats nothing, and is full
    when enough passes, with an artifact and without.
    """
    catalogue, latest = Catalogue(), dict[str, Item | None]()
    for name, item in before:
        catalogue.apply(0, len(catalogue.position), name, item)
        latest[name] = item
    serving = Serving(SNAPSHOT if learned else None, catalogue, LivePopularity())
    for name, item in after:
        catalogue.apply(0, len(catalogue.position), name, item)
        serving.item_changed(name)
        latest[name] = item
    query = clicked(*history, types=["purchase" if bought else "click"] * len(history), count=count, filters=wanted)
    (ranked,) = serving.recommend([query])
    known = set(latest) | (set(SNAPSHOT.vocabulary.ids) if learned else set())
    excluded = set(wanted.exclude_items)
    if wanted.exclude_seen or (wanted.exclude_purchased and bought):
        excluded |= set(history)
    fitting = {
        name
        for name in known - excluded
        if not (name in latest and latest[name] is None) and passes(name, latest.get(name), wanted)
    }
    assert set(ranked.item_ids) <= fitting
    assert len(set(ranked.item_ids)) == len(ranked.item_ids) == min(count, len(fitting))
    assert ranked.scores == sorted(ranked.scores, reverse=True)
    assert all(ranked.sources)


rows = st.integers(0, COUNT - 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(-1, COUNT - 1), max_size=12), min_size=1, max_size=6))
def test_candidates_are_the_union_of_what_each_source_found(histories: list[list[int]]) -> None:
    """Every candidate was named by the sources in its bits, everything named is a candidate, once."""
    batch = HistoryBatch.of(histories)
    candidates = SNAPSHOT.candidates(batch)
    users = SNAPSHOT.encoder.encode(batch.rows, batch.types, batch.times, batch.starts, batch.intents)
    named = [
        *(memory.candidates(batch, 60)[0] for memory in SNAPSHOT.memories.values()),
        SNAPSHOT.vectors.search(users, 60)[0],
    ]
    for user, history in enumerate(histories):
        part = slice(candidates.starts[user], candidates.starts[user + 1])
        got = candidates.rows[part].tolist()
        assert len(set(got)) == len(got)
        own = {row for row in history if row >= 0}
        lists = [{row for row in source[user].tolist() if row >= 0} for source in named]
        lists += [own, set(SNAPSHOT.trending_top.tolist())]
        assert set(got) == set().union(*lists)
        for row, bits in zip(got, candidates.sources[part].tolist(), strict=True):
            assert [bool(bits >> bit & 1) for bit in (4, 5, 0, 1, 2)] == [row in found for found in lists]


logs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 50)), max_size=60)


@settings(max_examples=100, deadline=None)
@given(logs)
def test_sessions_are_a_users_stretches(log: list[tuple[int, int, int]]) -> None:
    """Flattened sessions hold each interaction once, of one user, without a longer pause than the gap, newest first."""
    log.sort(key=lambda event: event[2])
    users, items, times = (np.array([event[column] for event in log], np.int64) for column in range(3))
    numbers = split_sessions(users.astype(np.int32), times, 5)
    current: dict[int, tuple[int, int]] = {}  # of each user: label of the session, time of its last event
    labels: list[int] = []
    for user, time in zip(users.tolist(), times.tolist(), strict=True):
        label, last = current.get(user, (-1, -100))
        current[user] = (label if time - last <= 5 and label >= 0 else len(labels), time)
        labels.append(current[user][0])
    pairs = set(zip(labels, numbers.tolist(), strict=True))
    assert len(pairs) == len(set(labels)) == len(set(numbers.tolist()))
    lists = session_lists(Interactions.of(users, items, times, sessions=numbers))
    assert sorted(lists.items.tolist()) == sorted(items.tolist())
    assert lists.starts[-1] == len(log)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=6), min_size=1, max_size=8))
def test_covisitation_counts_neighbourhoods(sessions: list[list[int]]) -> None:
    """Against counting by hand: who stands within the window of whom, and the order of the sums."""
    users = [number for number, session in enumerate(sessions) for _ in session]
    items = [row for session in sessions for row in session]
    times = [number * HALF_LIFE_MS for number in users]
    built = Covisitation.build(Interactions.of(users, items, times, sessions=users), 7)
    for item in range(7):
        sums = np.zeros(7)
        for number, session in enumerate(sessions):
            for place, row in enumerate(session):
                for near, other in enumerate(session):
                    distance = near - place
                    if row == item and distance and abs(distance) <= WINDOW:
                        weight = FORWARD if distance > 0 else BACKWARD
                        sums[other] += weight * FADE ** (abs(distance) - 1) * 2.0 ** (number - len(sessions) + 1)
        got_rows, got_scores = built.neighbours(item)
        assert set(got_rows.tolist()) == set(np.flatnonzero(sums).tolist())
        if len(got_rows):
            np.testing.assert_allclose(got_scores * np.sqrt(sums.sum()), sums[got_rows], rtol=1e-4)
            assert (np.diff(got_scores) <= 0).all()
