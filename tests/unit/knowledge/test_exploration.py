"""Items that nobody has touched get seen: in their places, by lot, and as often as the message says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from indexing.histories import Interactions
from stream.knowledge.serving import LivePopularity, Query, RankedList, Serving
from stream.knowledge.snapshot import MOST_UNTOUCHED
from stream.wire.messages import Filters
from tests.worlds import catalogue_of, category_of, clicked, item, random_sessions, small_snapshot

COUNT, TOPICS, UNTOUCHED = 160, 4, 40  # rows 120..159 have no event; all topics have ten of them
KEPT = range(8, 10)  # the ninth and the tenth place


def touched() -> Interactions:
    return random_sessions(COUNT - UNTOUCHED, 600, seed=5, topics=TOPICS)


def serving_of(interactions: Interactions | None = None, count: int = COUNT, **options: int) -> Serving:
    known = touched() if interactions is None else interactions
    everything = Interactions.of(  # one click on each that is not to be untouched
        np.append(known.users, np.arange(120) + 10_000),
        np.append(known.items, np.arange(120)),
        np.append(known.times, np.zeros(120)),
        sessions=np.append(known.sessions, np.arange(120) + 10_000),
    )
    catalogue = catalogue_of(*(item(row, TOPICS) for row in range(count)))
    return Serving(small_snapshot(everything, count, topics=TOPICS), catalogue, LivePopularity(), **options)


def at_times(query: Query, times: int) -> list[Query]:
    """The same history, asked at different moments: the same candidates, other lots."""
    return [msgspec.structs.replace(query, now=query.now + moment) for moment in range(times)]


def untouched(name: str) -> bool:
    return int(name[1:]) >= COUNT - UNTOUCHED


def places_drawn(ranked: RankedList) -> list[int]:
    return [place for place, name in enumerate(ranked.item_ids) if untouched(name)]


def test_two_of_twenty_places_are_for_untouched_items() -> None:
    """The ninth and the tenth of each list hold untouched items, most of the user's topic, named `new`; above and below
    them stands what would stand there without them, and the scores fall.
    """
    explored, plain = serving_of(), serving_of(new_slots=0)
    query = clicked("i1", "i5", "i9")
    (without,) = plain.recommend([query])
    usual = [name for name in without.item_ids if not untouched(name)]
    topics = Counter[str]()
    for ranked in explored.recommend(at_times(query, 50)):
        assert ranked.drawn == len(KEPT)
        names = [ranked.item_ids[place] for place in KEPT]
        assert all(map(untouched, names))
        topics.update(category_of(int(name[1:]), TOPICS) for name in names)
        assert all("new" in ranked.sources[place] for place in KEPT)
        rest = [name for name in ranked.item_ids if not untouched(name)]
        assert rest == usual[: len(rest)]
        assert ranked.scores == sorted(ranked.scores, reverse=True)
        assert len(set(ranked.item_ids)) == 20
    assert topics["topic1"] > 0.8 * topics.total()


def test_the_propensity_is_the_share_of_lists_in_which_the_item_stands_there() -> None:
    """Six thousand lists for one history: each item is in each kept place as often as its propensity says, within four
    and a half standard errors.
    """
    lists = serving_of().recommend(at_times(clicked("i1", "i5"), 6_000))
    for place in KEPT:
        seen = Counter(ranked.item_ids[place] for ranked in lists)
        chances = {ranked.item_ids[place]: ranked.propensities[place] for ranked in lists}
        assert 5 <= len(chances) <= 16
        assert sum(chances.values()) == pytest.approx(1.0, abs=1e-4)
        for name, chance in chances.items():
            error = (chance * (1 - chance) / len(lists)) ** 0.5
            assert abs(seen[name] / len(lists) - chance) < 4.5 * error
    assert all(ranked.propensities[:8] == [1.0] * 8 for ranked in lists)


def test_every_untouched_item_is_seen_by_somebody() -> None:
    """Four hundred users of all topics: all forty items are in somebody's list; without kept places fewer are."""
    rng = np.random.default_rng(3)
    queries = [clicked(*(f"i{row}" for row in 4 * rng.integers(0, 30, 3) + user % TOPICS)) for user in range(400)]
    queries = [msgspec.structs.replace(query, now=query.now + at) for at, query in enumerate(queries)]
    seen = {name for ranked in serving_of().recommend(queries) for name in ranked.item_ids if untouched(name)}
    assert len(seen) == UNTOUCHED


def test_the_same_list_is_made_again() -> None:
    """Another process, other batches: equal lists, to the last bit; another moment or another seed draws otherwise."""
    queries = at_times(clicked("i1", "i5", "i2"), 60)
    first, second = serving_of(), serving_of()
    lists = first.recommend(queries)
    again = [ranked for start in range(0, 60, 7) for ranked in second.recommend(queries[start : start + 7])]
    assert again == lists
    assert len({tuple(ranked.item_ids) for ranked in lists}) > 10
    assert serving_of(seed=8).recommend(queries) != lists


def test_filters_hold_for_what_is_drawn() -> None:
    """Only half of the untouched items pass: none of the others is drawn, ever."""
    excluded = [f"i{row}" for row in range(COUNT - UNTOUCHED, COUNT, 2)]
    query = clicked("i1", "i5", "i8", "i2", filters=Filters(exclude_items=excluded))
    lists = serving_of().recommend(at_times(query, 200))
    drawn = {ranked.item_ids[place] for ranked in lists for place in places_drawn(ranked)}
    assert drawn
    assert not drawn & set(excluded)


def test_an_item_that_the_user_knows_is_not_drawn() -> None:
    """The user has clicked one of the untouched items already: the places are for others."""
    lists = serving_of().recommend(at_times(clicked("i1", "i121", "i125"), 200))
    kept = {ranked.item_ids[place] for ranked in lists for place in KEPT}
    assert kept
    assert not kept & {"i121", "i125"}


def test_one_event_ends_it() -> None:
    """Every item has an event: lists are the best in order, all of it certain."""
    serving = serving_of(count=120)
    for ranked in serving.recommend(at_times(clicked("i1", "i5"), 20)):
        assert ranked.drawn == 0
        assert ranked.propensities == [1.0] * 20


def test_an_event_that_was_held_out_ends_it_too() -> None:
    """No network has learned of a single event, but the memories have all of them: nothing is drawn."""
    serving = serving_of(count=120)
    assert serving.snapshot is not None
    unlearned = replace(serving.snapshot, counts=np.zeros(120, np.float32))
    (ranked,) = Serving(unlearned, serving.catalogue, LivePopularity()).recommend([clicked("i1", "i5")])
    assert ranked.drawn == 0


def test_an_item_newer_than_the_artifact_is_drawn_too() -> None:
    """It comes on `items` and is in the kept places of its topic's lists from the next one on, as `new`."""
    serving = serving_of(count=120)
    serving.catalogue.apply(0, 10_000, "i121", item(121, TOPICS))
    serving.item_changed("i121")
    ranked = serving.recommend([clicked("i1", "i5")])[0]
    assert ranked.item_ids[9] == "i121"
    assert "new" in ranked.sources[9]
    assert (ranked.propensities[9], ranked.drawn) == (1.0, 1)
    assert serving.recommend([clicked("i1", count=9)])[0].drawn == 0


def test_a_large_catalogue_costs_no_more_than_a_sample_of_it() -> None:
    """Of five thousand untouched items a sample is passed over for each list, another one in the next artifact."""
    sessions = random_sessions(120, 50, seed=1)
    first, again, other = (small_snapshot(sessions, 5_000, artifact_id=name) for name in ("a", "a", "b"))
    assert len(first.untouched) == MOST_UNTOUCHED
    assert first.untouched.tolist() == again.untouched.tolist() != other.untouched.tolist()
    assert not first.counts[first.untouched].any()
    assert first.untouched.tolist() == sorted(set(first.untouched.tolist()))
