"""The refresh on planted worlds: what it learns, what it must not see, and that it survives next to nothing."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.gate import judge
from stream.knowledge.learning import Learned, NothingToLearnError, learn
from stream.knowledge.serving import LivePopularity, Query, Serving
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.window import Window
from stream.settings import ModelSettings, Settings
from stream.wire.messages import Item

TYPES = Settings().event_types()
SMALL = ModelSettings(
    dimensions=16, length=10, inner=16, token_buckets=256, negatives=64, batch_events=256, first_epochs=4, epochs=2
)
ITEMS = 40
HOUR = 3_600_000


def walk(window: Window, sessions: range, *, noise: float = 0.1, seed: int = 0, items: int = ITEMS) -> None:
    """Sessions of six clicks round a ring of items; a share of the steps goes anywhere."""
    rng = np.random.default_rng([seed, sessions.start])
    for session in sessions:
        at = int(rng.integers(items))
        for step in range(6):
            window.append(f"u{session}", f"i{at}", "click", session * HOUR + step * 1_000, offset=len(window))
            at = int(rng.integers(items)) if rng.random() < noise else (at + 1) % items


def window_of(sessions: int, **options: float) -> Window:
    window = Window(TYPES.names)
    walk(window, range(sessions), **options)  # type: ignore[arg-type]
    return window


def refresh(
    window: Window,
    parent: Snapshot | None = None,
    new_events: int | None = None,
    model: ModelSettings = SMALL,
    catalogue: Catalogue | None = None,
) -> Learned:
    return learn(
        window,
        Catalogue() if catalogue is None else catalogue,
        parent,
        artifact_id="a2" if parent else "a1",
        event_types=TYPES,
        model=model,
        seed=3,
        new_events=len(window) if new_events is None else new_events,
    )


def arrays_of(snapshot: Snapshot) -> dict[str, np.ndarray]:
    parts = {
        "encoder": snapshot.encoder.arrays(),
        "tower": snapshot.tower.arrays(),
        "ranker": snapshot.ranker.arrays(),
        **{name: memory.arrays() for name, memory in snapshot.memories.items()},
        "trending": snapshot.trending.arrays(),
    }
    found = {f"{part}.{name}": array for part, named in parts.items() for name, array in named.items()}
    return found | {"vectors": snapshot.item_vectors, "counts": snapshot.counts}


@pytest.fixture(scope="module")
def first() -> Learned:
    return refresh(window_of(300))


def test_the_ring_is_learned_and_beats_popularity(first: Learned) -> None:
    """On held-out walks the next place of the ring is found; popularity knows half of 40 items at best."""
    held_out = first.report["held_out"]
    assert first.report["enough"]
    assert held_out["candidate"]["recall@20"] > held_out["popular"]["recall@20"] + 0.2
    assert held_out["candidate"]["mrr@20"] > 0.6
    assert judge(first.report, SMALL).passed
    assert first.snapshot.parent is None


def test_a_list_for_a_walker_begins_with_the_next_place(first: Learned) -> None:
    """Through the serving code, from item ids to item ids."""
    serving = Serving(first.snapshot, Catalogue(), LivePopularity())
    queries = [Query([f"i{at}", f"i{at + 1}"], ["click"] * 2, [0, 1_000], 1_000) for at in range(0, ITEMS - 2, 3)]
    tops = [ranked.item_ids[:3] for ranked in serving.recommend(queries)]
    assert sum(f"i{at + 2}" in top for at, top in zip(range(0, ITEMS - 2, 3), tops, strict=True)) >= len(queries) - 1


def test_the_same_arguments_give_the_same_snapshot(first: Learned) -> None:
    """Every array, bit for bit, and the report."""
    again = refresh(window_of(300))
    ours, theirs = arrays_of(first.snapshot), arrays_of(again.snapshot)
    assert [name for name in ours if not np.array_equal(ours[name], theirs[name])] == []
    assert first.report == again.report


def test_held_out_events_are_counted_but_not_trained_on(first: Learned) -> None:
    """Other items in the newest tenth change the memories, and not one byte of encoder, tower or ranker."""
    window = window_of(300)
    newest = len(window) // 10
    column = window.column("items")
    column[-newest:] = column[-newest:][::-1].copy()
    other = refresh(window)
    ours, theirs = arrays_of(first.snapshot), arrays_of(other.snapshot)
    changed = {name.partition(".")[0] for name in ours if not np.array_equal(ours[name], theirs[name])}
    assert {"covisitation", "sessions"} <= changed
    assert not {"encoder", "tower", "ranker", "vectors"} & changed


def test_candidates_are_judged_by_memories_that_have_not_seen_the_answers() -> None:
    """Items that meet in held-out events alone: co-visitation scores 0 there, and knows them in what is published."""
    window = Window(TYPES.names)
    for session in range(90):
        pair = ("a", "b") if session % 2 else ("c", "d")
        for step, item in enumerate(pair):
            window.append(f"u{session}", item, "click", session * HOUR + step)
    for session in range(90, 100):
        for step, item in enumerate(("a", "d")):
            window.append(f"u{session}", item, "click", session * HOUR + step)
    learned = refresh(window)
    assert learned.report["held_out"]["queries"] == 10
    assert learned.report["held_out"]["covisitation"] == {"recall@20": 0.0, "mrr@20": 0.0}
    rows = learned.snapshot.vocabulary.rows
    assert rows["d"] in learned.snapshot.covisitation.neighbours(rows["a"])[0]


def test_a_refresh_goes_on_from_its_parent(first: Learned) -> None:
    """Old items keep their rows, new ones get rows behind them, and both versions are scored on the same queries."""
    window = window_of(300)
    before = len(window)
    walk(window, range(300, 400), items=ITEMS + 5)
    learned = refresh(window, first.snapshot, len(window) - before)
    size = len(first.snapshot.vocabulary)
    assert learned.snapshot.vocabulary.ids[:size] == first.snapshot.vocabulary.ids
    assert len(learned.snapshot.vocabulary) == ITEMS + 5
    assert learned.snapshot.parent == "a1"
    assert learned.report["new_events"] == 600
    assert learned.report["held_out"]["parent"]["recall@20"] > 0.5
    assert judge(learned.report, SMALL).passed


def test_new_items_without_new_events_make_a_refresh(first: Learned) -> None:
    """A catalogue that grew while nobody clicked: the item gets a row, and what is known of the others stays."""
    catalogue = Catalogue()
    catalogue.apply(0, 0, "just listed", Item("just listed", title="a thing"))
    learned = refresh(window_of(300), first.snapshot, new_events=0, catalogue=catalogue)
    assert "just listed" in learned.snapshot.vocabulary.rows
    assert np.array_equal(learned.snapshot.counts[:ITEMS], first.snapshot.counts)
    assert judge(learned.report, SMALL).passed


def test_items_that_nobody_knows_any_more_lose_their_rows(first: Learned) -> None:
    """Out of the window and not in the catalogue: gone. In the catalogue: kept, and new ones of it get rows, too."""
    window = Window(TYPES.names)
    walk(window, range(300, 380), items=10)
    catalogue = Catalogue()
    for offset, item_id in enumerate(("i30", "never clicked")):
        catalogue.apply(0, offset, item_id, Item(item_id, title=f"thing {item_id}"))
    untrained = msgspec.structs.replace(SMALL, epochs=0)
    snapshot = refresh(window, first.snapshot, catalogue=catalogue, model=untrained).snapshot
    assert set(snapshot.vocabulary.ids) == {*(f"i{at}" for at in range(10)), "i30", "never clicked"}
    row = snapshot.vocabulary.rows["i30"]
    old = first.snapshot.tower.identities[first.snapshot.vocabulary.rows["i30"]]
    assert np.array_equal(snapshot.tower.identities[row], old)
    assert snapshot.counts[row] == first.snapshot.counts[first.snapshot.vocabulary.rows["i30"]]
    assert np.linalg.norm(snapshot.item_vectors[snapshot.vocabulary.rows["never clicked"]]) == pytest.approx(
        1, abs=1e-5
    )


def test_a_parent_of_another_shape_is_no_parent(first: Learned) -> None:
    """After a change of settings learning begins anew, without an error."""
    model = msgspec.structs.replace(SMALL, dimensions=8)
    learned = refresh(window_of(60), first.snapshot, 60, model=model)
    assert learned.snapshot.parent is None
    assert learned.snapshot.item_vectors.shape == (ITEMS, 8)


TINY: dict[str, list[tuple[str, str, str]]] = {
    "one event": [("u", "a", "click")],
    "one user, one item": [("u", "a", "click")] * 7,
    "two users, two items": [("u", "a", "click"), ("v", "b", "click")],
    "one of each type": [("u", item, kind) for item, kind in zip("abcde", TYPES.names, strict=True)],
    "every user once": [(f"u{at}", "a", "click") for at in range(80)],
    "one user, many items": [("u", f"i{at}", "click") for at in range(120)],
    "dislikes and one click": [("u", f"i{at}", "dislike") for at in range(200)] + [("u", "i7", "click")],
    "a purchase after a dislike": [("u", "a", "dislike"), ("u", "b", "purchase")],
}


@pytest.mark.parametrize("name", TINY)
def test_next_to_nothing_makes_a_snapshot_that_serves(name: str) -> None:
    """A tiny window: a finite snapshot that answers, a report that passes the gate, and a refresh goes on from it."""
    window = Window(TYPES.names)
    for at, (user, item, kind) in enumerate(TINY[name]):
        window.append(user, item, kind, at * 1_000)
    learned = refresh(window)
    assert judge(learned.report, SMALL).passed, learned.report
    known = TINY[name][-1][1]
    ranked = Serving(learned.snapshot, Catalogue(), LivePopularity()).recommend([Query([known], ["click"], [0], 0)])
    assert all(np.isfinite(ranked[0].scores))
    window.append("w", known, "click", 10**6)
    assert refresh(window, learned.snapshot, 1).snapshot.parent == "a1"


@pytest.mark.parametrize("kinds", [[], ["dislike"], ["remove", "dislike"]])
def test_nothing_that_anybody_wanted_is_nothing_to_learn(kinds: list[str]) -> None:
    """A clear error, not a broken snapshot."""
    window = Window(TYPES.names)
    for kind in kinds:
        window.append("u", "a", kind, 0)
    with pytest.raises(NothingToLearnError):
        refresh(window)


def test_a_learning_rate_that_is_no_number_is_refused(first: Learned) -> None:
    """NaN spreads into vectors and loss; the gate names both."""
    window = window_of(320)
    model = msgspec.structs.replace(SMALL, learning_rate=float("nan"), row_learning_rate=float("nan"))
    verdict = judge(refresh(window, first.snapshot, 120, model=model).report, model)
    assert not verdict.passed
    assert any("item_vectors" in reason for reason in verdict.reasons)


def test_shuffled_items_are_refused(first: Learned) -> None:
    """New events whose items are shuffled make a worse candidate than the parent on clean events after them."""
    window = window_of(300)
    before = len(window)
    walk(window, range(300, 1_200))
    items = window.column("items")
    poisoned = slice(before, len(window) - 500)
    items[poisoned] = np.random.default_rng(0).permutation(items[poisoned])
    model = msgspec.structs.replace(SMALL, ranker_learning_rate=0.02, epochs=4, replay=0.0)
    learned = refresh(window, first.snapshot, len(window) - before, model=model)
    verdict = judge(learned.report, model)
    assert not verdict.passed, learned.report


def test_one_machine_that_clicks_all_day_decides_nothing() -> None:
    """A bot with ten times everybody's clicks on one pair: only its newest events count, and the ring is learned."""
    window = window_of(300)
    for at in range(18_000):
        window.append("bot", f"i{at % 2 * 20}", "click", 300 * HOUR + at)
    walk(window, range(301, 340))
    model = msgspec.structs.replace(SMALL, most_of_one_user=200)
    learned = refresh(window, model=model)
    assert learned.snapshot.counts.sum() <= (300 + 39) * 6 + 200
    serving = Serving(learned.snapshot, Catalogue(), LivePopularity())
    queries = [Query([f"i{at}"], ["click"], [0], 0) for at in (0, 20, 5)]
    for at, ranked in zip((0, 20, 5), serving.recommend(queries), strict=True):
        assert f"i{at + 1}" in ranked.item_ids[:5]


def topics_of(*, described: bool) -> tuple[Window, Catalogue]:
    """Users click anything of their topic; of each topic's twenty items five are never clicked by anybody."""
    rng, window, catalogue = np.random.default_rng(5), Window(TYPES.names), Catalogue()
    for row in range(80):
        title = f"topic{row % 4} thing{row % 4} for{row % 4}" if described else None
        catalogue.apply(0, row, f"i{row}", Item(f"i{row}", title=title))
    for session in range(500):
        for step, number in enumerate(rng.permutation(15)[:5].tolist()):
            item_id, moment = f"i{4 * number + session % 4}", session * HOUR + step * 1_000
            window.append(f"u{session}", item_id, "click", moment, offset=len(window))
    return window, catalogue


def untouched_in_lists(snapshot: Snapshot, catalogue: Catalogue) -> float:
    """The share of the first fifteen places, none of them drawn by lot, that untouched items of the topic have."""
    serving = Serving(snapshot, catalogue, LivePopularity(), new_slots=0)
    histories = [[f"i{4 * number + topic}" for number in (2, 7, 11)] for topic in range(4)]
    queries = [Query(items, ["click"] * 3, [0, 1, 2], 500 * HOUR, count=15) for items in histories]
    lists = [[int(name[1:]) for name in ranked.item_ids] for ranked in serving.recommend(queries)]
    return float(np.mean([[row >= 60 and row % 4 == topic for row in rows] for topic, rows in enumerate(lists)]))


def test_the_ranker_learns_what_an_untouched_item_is_worth() -> None:
    """Its first teacher does not know the events of some items, which are clicked all the same: so untouched items with
    the right words are in lists on their merits, and without words they are not.
    """
    shares = []
    for described in (True, False):
        window, catalogue = topics_of(described=described)
        shares.append(untouched_in_lists(refresh(window, catalogue=catalogue).snapshot, catalogue))
    assert shares[0] > 0.05
    assert shares[1] < 0.02
