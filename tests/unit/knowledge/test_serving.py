"""Lists in a small world: who gets what, from where, and what happens when the catalogue changes."""

from __future__ import annotations

import numpy as np
import pytest

from indexing.histories import Interactions
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.serving import LivePopularity, Query, RankedList, Serving
from stream.wire.messages import Filters, Item, PriceRange
from tests.worlds import catalogue_of, category_of, clicked, item, random_sessions, sessions_of, small_snapshot

COUNT, TOPICS = 100, 5
NOBODY = Query((), (), (), 0)


def serving_of(
    interactions: Interactions | None = None, catalogue: Catalogue | None = None, count: int = COUNT, **options: int
) -> Serving:
    known = random_sessions(count, 300, seed=8) if interactions is None else interactions
    described = catalogue_of(*(item(row, TOPICS) for row in range(count))) if catalogue is None else catalogue
    return Serving(small_snapshot(known, count), described, LivePopularity(), **options)


def change(serving: Serving, item_id: str, record: Item | None) -> None:
    """What a worker does with a record of `items`."""
    serving.catalogue.apply(0, serving.catalogue.position.get(0, 0), item_id, record)
    serving.item_changed(item_id)


def one(serving: Serving, query: Query) -> RankedList:
    (ranked,) = serving.recommend([query])
    return ranked


def test_a_personal_list_follows_the_history() -> None:
    """0 is always followed by 1: after 0, item 1 leads the list, named by the sources that saw it, not a fallback."""
    serving = serving_of(sessions_of(*[[0, 1]] * 20, *[[7, 8]] * 20), count=10)
    ranked = one(serving, clicked("i0", count=3, explain=True))
    assert ranked.fallback is None
    assert "i1" in ranked.item_ids[:2]
    at = ranked.item_ids.index("i1")
    assert {"sessions", "covisitation"} <= set(ranked.sources[at])
    assert ranked.because[at] == ["i0"]
    assert ranked.propensities == [1.0] * 3
    assert ranked.scores == sorted(ranked.scores, reverse=True)


@pytest.mark.parametrize("record", [None, item(1, TOPICS, available=False)], ids=["tombstone", "unavailable"])
def test_a_retired_item_leaves_all_lists_at_once(record: Item | None) -> None:
    """Personal, popular, similar, filtered: the item is in none of them after the record, in all after a new one."""
    serving = serving_of()
    asked = [clicked("i1", "i6"), clicked("i1", filters=Filters(category="topic1")), NOBODY]

    def everywhere() -> list[bool]:
        lists = [ranked.item_ids for ranked in serving.recommend(asked)]
        lists += [serving.similar("i6", 20).item_ids, serving.popular(100)]
        return ["i1" in ids for ids in lists]

    assert all(everywhere())
    change(serving, "i1", record)
    assert not any(everywhere())
    change(serving, "i1", item(1, TOPICS))
    assert all(everywhere())


def test_a_new_item_reaches_those_it_is_for() -> None:
    """An item that came after the snapshot is listed for users of its topic, as `new`, by filters and by likeness."""
    serving = serving_of()
    before = one(serving, clicked("i1", "i6", "i11"))
    change(serving, "fresh", item(1, TOPICS, item_id="fresh"))
    ranked = one(serving, clicked("i1", "i6", "i11"))
    assert "fresh" in ranked.item_ids
    assert "new" in ranked.sources[ranked.item_ids.index("fresh")]
    assert len(ranked.item_ids) == len(before.item_ids) == 20
    assert "fresh" in one(serving, clicked("i1", count=100, filters=Filters(category="topic1"))).item_ids
    assert "fresh" in serving.similar("i1", 30).item_ids
    assert serving.cold_items == 1


def test_a_place_is_kept_for_new_items() -> None:
    """A list of ten has the new item, if only in its last place; the places above are those of a list without it."""
    everything = sessions_of(*([row, (row + TOPICS) % COUNT] for row in range(COUNT)))
    kept, free = serving_of(everything, new_slots=1), serving_of(everything, new_slots=0)
    for serving in (kept, free):
        change(serving, "fresh", item(1, TOPICS, item_id="fresh"))
    query = clicked("i1", "i6", count=10)
    old = [name for name in one(free, query).item_ids if name != "fresh"]
    assert one(kept, query).item_ids[:9] == old[:9] or "fresh" in one(free, query).item_ids
    assert "fresh" in one(kept, query).item_ids
    assert len(set(one(kept, query).item_ids)) == 10


def test_a_history_of_new_items_is_personal() -> None:
    """A user who clicked only an item newer than the snapshot gets a list from its content: its topic leads."""
    serving = serving_of()
    change(serving, "fresh", item(3, TOPICS, item_id="fresh"))
    ranked = one(serving, clicked("fresh", count=5))
    assert ranked.fallback is None
    others = [int(name[1:]) for name in ranked.item_ids if name != "fresh"]
    assert {category_of(row, TOPICS) for row in others[:3]} == {"topic3"}


def test_fallbacks() -> None:
    """Nothing known of the user, nothing known of the history, no artifact: each has its name, and the popular list."""
    serving = serving_of()
    popular = serving.popular(20)
    for query, fallback in ((NOBODY, "unknown_user"), (clicked("never", "heard"), "popular")):
        ranked = one(serving, query)
        assert (ranked.fallback, ranked.item_ids) == (fallback, popular)
    assert one(Serving(None, serving.catalogue, LivePopularity()), clicked("i1")).fallback == "no_artifact"
    assert serving.similar("never heard of", 20).fallback == "popular"


def test_fallbacks_mix_with_personal_lists_in_one_batch() -> None:
    """Each query of a mixed batch gets what it gets alone."""
    serving = serving_of()
    queries = [NOBODY, clicked("i1"), clicked("never"), clicked("i2", "i7"), NOBODY]
    together = serving.recommend(queries)
    assert [ranked.fallback for ranked in together] == ["unknown_user", None, "popular", None, "unknown_user"]
    assert [ranked.item_ids for ranked in together] == [one(serving, query).item_ids for query in queries]


def test_the_popular_list_is_the_days_most_counted() -> None:
    """Item 3 has three sessions, 2 has two, 1 has one, of one day: that is the order; then what nobody touched."""
    serving = serving_of(sessions_of([3], [2], [3], [2], [3], [1]), count=6)
    assert serving.popular(3) == ["i3", "i2", "i1"]
    assert len(serving.popular(10)) == 6


def test_without_an_artifact_lists_are_what_was_seen_then_the_catalogue() -> None:
    """Counted events first, most first; then the catalogue by id; retired and unavailable ones never; filters hold."""
    catalogue = catalogue_of(item(2, TOPICS), item(1, TOPICS), item(3, TOPICS, available=False), item(4, TOPICS))
    popularity = LivePopularity()
    serving = Serving(None, catalogue, popularity)
    assert one(serving, NOBODY).item_ids == ["i1", "i2", "i4"]
    popularity.observe(["unheard", "i4", "i4", "i3"])
    assert one(serving, clicked("i1")).item_ids == ["i4", "unheard", "i1", "i2"]
    assert serving.popular(2) == ["i4", "unheard"]
    change(serving, "unheard", None)
    assert one(serving, NOBODY).item_ids == ["i4", "i1", "i2"]
    assert one(serving, clicked("i9", filters=Filters(category="topic1"))).item_ids == ["i1"]
    assert one(serving, clicked("i1", filters=Filters(exclude_seen=True))).item_ids == ["i4", "i2"]
    assert serving.similar("i1", 20).fallback == "no_artifact"


def test_an_item_that_only_events_named_is_listed_until_a_tombstone() -> None:
    """No catalogue at all: what was clicked is known and available."""
    popularity = LivePopularity()
    serving = Serving(None, Catalogue(), popularity)
    assert one(serving, NOBODY).item_ids == []
    popularity.observe(["a", "b", "b"])
    assert one(serving, NOBODY).item_ids == ["b", "a"]
    change(serving, "b", None)
    assert one(serving, NOBODY).item_ids == ["a"]


def test_items_without_a_record_pass_no_attribute_filter() -> None:
    """With a snapshot and an empty catalogue lists are full, but nothing has a category."""
    serving = serving_of(catalogue=Catalogue())
    assert len(one(serving, clicked("i1")).item_ids) == 20
    assert one(serving, clicked("i1", filters=Filters(category="topic1"))).item_ids == []
    assert one(serving, clicked("i1", filters=Filters(price=PriceRange(min=0)))).item_ids == []


def test_what_was_bought_or_seen_can_be_excluded() -> None:
    """`exclude_purchased` hides what was bought, `exclude_seen` the whole history, `exclude_items` what it names."""
    serving = serving_of()
    types = ["click", "purchase"]
    everything = one(serving, clicked("i1", "i6", types=types, count=COUNT)).item_ids
    assert {"i1", "i6"} <= set(everything)
    bought = one(serving, clicked("i1", "i6", types=types, count=COUNT, filters=Filters(exclude_purchased=True)))
    assert set(everything) - set(bought.item_ids) == {"i6"}
    seen = one(serving, clicked("i1", "i6", types=types, count=COUNT, filters=Filters(exclude_seen=True)))
    assert set(everything) - set(seen.item_ids) == {"i1", "i6"}
    named = one(serving, clicked("i1", count=COUNT, filters=Filters(exclude_items=["i50", "never heard of"])))
    assert set(everything) - set(named.item_ids) == {"i50"}


def test_what_is_disliked_comes_last_if_at_all() -> None:
    """A disliked item is not in a list that can be filled without it, and last in one that cannot."""
    serving = serving_of()
    query = clicked("i1", "i6", types=["click", "dislike"], count=20)
    assert "i6" not in one(serving, query).item_ids
    assert one(serving, clicked("i1", "i6", types=["click", "dislike"], count=COUNT)).item_ids[-1] == "i6"


def test_similar_items_are_of_the_same_kind_and_never_the_item() -> None:
    """What was always visited with the item leads; likeness of content follows; the item itself is never there."""
    serving = serving_of(sessions_of(*[[0, 7]] * 20, [1, 2], [3, 4]), count=20)
    ranked = serving.similar("i0", 5)
    assert ranked.item_ids[0] == "i7"
    assert {category_of(int(name[1:]), TOPICS) for name in ranked.item_ids[1:4]} == {"topic0"}
    assert "i0" not in serving.similar("i0", 20).item_ids
    assert len(serving.similar("i0", 19).item_ids) == 19
    change(serving, "fresh", item(2, TOPICS, item_id="fresh"))
    likes = serving.similar("fresh", 3)
    assert {category_of(int(name[1:]), TOPICS) for name in likes.item_ids} == {"topic2"}
    assert serving.similar("i0", 3, Filters(category="topic4")).item_ids[0] in {"i4", "i9", "i14", "i19"}


def test_reasons_are_items_of_the_history() -> None:
    """An item of the history follows from itself; every reason is in the history; unasked for there is none."""
    serving = serving_of()
    history = ("i1", "i2", "i8")
    ranked = one(serving, clicked(*history, explain=True))
    assert any(ranked.because)
    for name, reasons in zip(ranked.item_ids, ranked.because, strict=True):
        assert set(reasons) <= set(history)
        assert name not in history or reasons == [name]
    assert one(serving, clicked(*history)).because == [[]] * 20


def test_the_same_state_makes_the_same_lists() -> None:
    """Two servings of two equal snapshots, one warmed up, asked in other batches: equal lists."""
    first, second = serving_of(), serving_of()
    second.warm_up()
    for serving in (first, second):
        change(serving, "fresh", item(1, TOPICS, item_id="fresh"))
        change(serving, "i3", None)
    rng = np.random.default_rng(12)
    queries = [clicked(*(f"i{row}" for row in rng.integers(0, COUNT, rng.integers(1, 9)))) for _ in range(300)]
    together = first.recommend(queries)
    for start in range(0, 300, 7):
        part = second.recommend(queries[start : start + 7])
        assert [ranked.item_ids for ranked in part] == [ranked.item_ids for ranked in together[start : start + 7]]
        assert part == together[start : start + 7]  # scores and sources too, to the last bit


def test_the_order_in_which_new_items_come_changes_nothing() -> None:
    """Six new items with one and the same content, in two orders and before the serving was made: the same lists."""
    names = [f"fresh{number}" for number in range(6)]
    first, second = serving_of(), serving_of()
    for name in names:
        change(first, name, item(1, TOPICS, item_id=name))
    for name in reversed(names):
        change(second, name, item(1, TOPICS, item_id=name))
        one(second, clicked("i1"))
    third = Serving(first.snapshot, second.catalogue, LivePopularity())
    queries = [
        clicked("i1", "i6"),
        clicked("i1", "fresh3", count=12),
        clicked("i1", count=COUNT + 6),
        clicked("i2", count=COUNT, filters=Filters(category="topic1")),
    ]
    expected = first.recommend(queries)
    for serving in (second, third):
        assert serving.recommend(queries) == expected
        assert serving.similar("i1", 60) == first.similar("i1", 60)


def test_the_catalogues_position_is_plain_and_sorted() -> None:
    """It can be digested: partitions in order, each with the next offset."""
    catalogue = Catalogue()
    catalogue.apply(2, 5, "a", Item("a"))
    catalogue.apply(0, 3, "b", None)
    assert Serving(None, catalogue, LivePopularity()).catalogue_position == ((0, 4), (2, 6))


def test_many_new_items_grow_behind_the_snapshot() -> None:
    """More new items than there was room for: each can be found by its own likeness."""
    serving = serving_of()
    for number in range(1_500):
        change(serving, f"n{number}", Item(f"n{number}", title=f"word{number} word{number}x", category=f"c{number}"))
        if number % 500 == 0:
            one(serving, clicked("i1"))
    assert serving.cold_items == 1_500
    for number in (0, 499, 1_499):
        ranked = one(serving, clicked(f"n{number}", count=3))
        assert ranked.item_ids[0] == f"n{number}"
        assert one(serving, clicked("i1", filters=Filters(category=f"c{number}"))).item_ids == [f"n{number}"]
