"""The union of the sources and its features, by hand and against a plain computation."""

from __future__ import annotations

import numpy as np

from indexing.candidates import Candidates, Found, feature_names, kinds_of, merged, source_names, union
from indexing.columns import DAY_MS, HOUR_MS, SESSION_GAP_MS
from indexing.habits import NEVER, HabitFacts, Habits
from indexing.histories import Floats, HistoryBatch
from indexing.item_facts import ItemFacts
from indexing.sources.covisitation import Covisitation
from indexing.wanted import Wanted
from tests.worlds import MEMORIES, TYPES, clicked, random_sessions, small_snapshot


def found(*lists: list[tuple[int, float]]) -> Found:
    width = max(map(len, lists))
    padded = [[*entries, *[(-1, 0.0)] * (width - len(entries))] for entries in lists]
    return Found(
        np.array([[row for row, _ in entries] for entries in padded], np.int32),
        np.array([[score for _, score in entries] for entries in padded], np.float32),
    )


FEATURES = feature_names(MEMORIES)
WANTED = Wanted.nothing(6, len(TYPES))
VECTORS: Floats = np.eye(8, 4, dtype=np.float32)  # rows 0..3 are the axes, 4..7 are zero
TOGETHER = Covisitation(np.array([0, 2, 4, 5, 5, 5, 5]), np.array([2, 7, 3, 2, 2]), np.array([0.5, 0.4, 0.3, 0.2, 0.1]))
REST = (TOGETHER, Habits.nothing(6).facts)


def by_hand(batch: HistoryBatch, available: list[bool] | None = None, **changes: object) -> Candidates:
    arguments: dict[str, object] = {
        "memories": [found([(1, 4.0), (2, 1.0)]), found([(2, 8.0)])],
        "ann": found([(3, 0.5)]),
        "new": Found.nothing(1),
        "again": np.zeros((len(batch), 0), np.int32),
        "trending": np.array([5, 1], np.int32),
        "vectors": VECTORS,
        "facts": ItemFacts(
            np.arange(18, dtype=np.float32).reshape(6, 3),
            np.array([3, 0, 8, 0, 0, 0], np.float32),
            np.zeros(6, np.int64),
            WANTED.facts,
            *REST,
        ),
        "available": np.ones(8, np.bool_) if available is None else np.array(available),
    } | changes
    users = np.array([[0.0, 0.6, 0.0, 0.8]], np.float32)
    return union(batch, kinds_of(TYPES, ["dislike"]), users, **arguments)  # type: ignore[arg-type]


def features_of(candidates: Candidates, row: int) -> dict[str, float]:
    at = candidates.rows.tolist().index(row)
    return dict(zip(FEATURES, candidates.features[at].tolist(), strict=True))


def names_of(candidates: Candidates, row: int) -> set[str]:
    bits = int(candidates.sources[candidates.rows.tolist().index(row)])
    return set(source_names(bits, MEMORIES))


def test_each_item_once_with_all_its_sources() -> None:
    """The union of the lists, of the own items and of what is trending, without repeats, each with all who named it."""
    candidates = by_hand(HistoryBatch.of([[0, 2]], types=[[0, 2]]))
    assert sorted(candidates.rows.tolist()) == [0, 1, 2, 3, 5]
    assert candidates.starts.tolist() == [0, 5]
    assert names_of(candidates, 1) == {"sessions", "trending"}
    assert names_of(candidates, 2) == {"sessions", "covisitation", "recent"}
    assert names_of(candidates, 3) == {"ann"}
    assert names_of(candidates, 0) == {"recent"}


def test_features_by_hand() -> None:
    """Scores, ranks, agreement, similarity, popularity, history: every column, for one history of three events."""
    times = [0, int(HOUR_MS), int(HOUR_MS) + 1_000]
    batch = HistoryBatch.of([[0, 2, 0]], types=[[0, 2, 3]], times=[times], now=[int(DAY_MS)])
    two = features_of(by_hand(batch), 2)
    log = np.log1p
    expected = {
        "sessions_score": 0.25,
        "sessions_rank": 0.5,
        "sessions_strength": log(1000),
        "covisitation_score": 1.0,
        "covisitation_rank": 1.0,
        "covisitation_strength": log(8000),
        "agreement": 2.0,
        "popularity_hour": 6.0,
        "popularity_day": 7.0,
        "popularity_week": 8.0,
        "count": log(8),
        "cold": 1 / 3,
        "in_session": 1.0,
        "times_in_history": 1.0,
        "history_recency": 0.5,
        "hours_since": log(23),
        "purchased": 1.0,
        "age": log(1),
        "history_length": log(3),
        "session_length": log(2),
        "together": log(100),  # with itself, row 2: item 0 was removed
        "together_with": 1.0,
        "similarity_mean": 1.0,  # of item 2 alone
        "distinct": log(1),
        "pause": log(1),
    }
    np.testing.assert_allclose(
        [two[name] for name in FEATURES], [expected.get(name, 0.0) for name in FEATURES], rtol=1e-6
    )
    candidates = by_hand(batch)
    assert 0 not in candidates.rows  # its latest event is a removal, and nobody else names it
    three = features_of(candidates, 3)
    np.testing.assert_allclose([three["similarity"], three["ann_score"], three["similarity_last"]], [0.8, 1.0, 0.0])


def test_every_candidate_is_compared_with_each_of_the_last_items() -> None:
    """History 0, 1, 0, 1, 2, newest last: 2 is visited with 2, 1 and 0, 3 with 1 alone; vectors 0..2 are axes."""
    candidates = by_hand(HistoryBatch.of([[0, 1, 0, 1, 2]]))
    two, three, one = (features_of(candidates, row) for row in (2, 3, 1))
    log = np.log1p
    together = ("together", "together_second", "together_third", "together_with")
    np.testing.assert_allclose([two[name] for name in together], [log(100), log(200), log(500), 3], rtol=1e-6)
    np.testing.assert_allclose([three[name] for name in together], [0, log(300), 0, 1], rtol=1e-6)
    assert [one[name] for name in ("is_second", "similarity_second", "similarity_third")] == [1, 1, 0]
    assert [two[name] for name in ("is_second", "similarity_second", "similarity_last")] == [0, 0, 1]
    zero = features_of(candidates, 0)
    np.testing.assert_allclose([one["similarity_mean"], three["similarity_mean"]], [1 / 3, 0], rtol=1e-6)
    assert [zero[name] for name in ("is_second", "similarity_second", "similarity_third")] == [0, 0, 1]
    np.testing.assert_allclose([two["distinct"], three["distinct"]], log(3), rtol=1e-6)


def test_habits_of_items_are_told() -> None:
    """What is known of an item's sessions, and an hour since it was last seen; nothing of an item without events."""
    habits = HabitFacts(np.arange(18, dtype=np.float32).reshape(6, 3), np.array([0, 0, 0, NEVER, 0, 0]))
    facts = ItemFacts(
        np.ones((6, 3), np.float32),
        np.ones(6, np.float32),
        np.zeros(6, np.int64),
        WANTED.facts,
        TOGETHER,
        habits,
    )
    candidates = by_hand(HistoryBatch.of([[0]], now=[int(HOUR_MS)]), facts=facts)
    one, three = features_of(candidates, 1), features_of(candidates, 3)
    names = ("begins", "ends", "again", "unseen_for")
    np.testing.assert_allclose([one[name] for name in names], [3, 4, 5, np.log(2)], rtol=1e-6)
    assert [three[name] for name in names] == [0, 0, 0, 0]


def test_what_was_removed_is_marked() -> None:
    """An item whose latest event is a removal and which a source names is `rejected`, seen twice, and the last."""
    batch = HistoryBatch.of([[2, 2]], types=[[0, 3]])
    two = features_of(by_hand(batch), 2)
    assert (two["rejected"], two["times_in_history"], two["is_last"]) == (1.0, 2.0, 1.0)
    assert "recent" not in names_of(by_hand(batch), 2)
    assert two["similarity_last"] == 1.0


def test_a_pause_ends_the_session() -> None:
    """Half an hour and a millisecond apart, the first item is not of this session."""
    batch = HistoryBatch.of([[2, 1]], times=[[0, SESSION_GAP_MS + 1]])
    candidates = by_hand(batch)
    assert features_of(candidates, 2)["in_session"] == 0.0
    assert features_of(candidates, 1)["in_session"] == 1.0


def test_unavailable_rows_are_no_candidates() -> None:
    """Masked rows are left out whoever names them; the ranks of the others are those of the source's list."""
    available = [True] * 8
    available[1] = available[0] = False
    candidates = by_hand(HistoryBatch.of([[0, 2]]), available)
    assert sorted(candidates.rows.tolist()) == [2, 3, 5]
    assert features_of(candidates, 2)["sessions_rank"] == 0.5


def test_rows_newer_than_the_facts_have_vectors_only() -> None:
    """Row 7 is newer: no popularity, wholly cold, source `new`."""
    vectors = VECTORS.copy()
    vectors[7] = [0, 1, 0, 0]
    facts = ItemFacts(
        np.ones((6, 3), np.float32),
        np.ones(6, np.float32),
        np.zeros(6, np.int64),
        WANTED.facts,
        *REST,
    )
    candidates = by_hand(HistoryBatch.of([[0]]), vectors=vectors, facts=facts, new=found([(7, 0.6)]))
    seven = features_of(candidates, 7)
    assert names_of(candidates, 7) == {"new"}
    np.testing.assert_allclose(
        [seven["similarity"], seven["cold"], seven["popularity_week"], seven["age"]], [0.6, 1, 0, 0]
    )


def test_merging_keeps_the_best_of_both() -> None:
    """Two lists of one scale become one, padding last, equal scores by row."""
    both = merged(found([(1, 0.9), (2, 0.5)], [(4, 0.1)]), found([(9, 0.7), (8, 0.5)], []), 3, np.arange(10))
    assert both.rows.tolist() == [[1, 9, 2], [4, -1, -1]]


def test_candidates_do_not_depend_on_the_batch_nor_hold_repeats() -> None:
    """Over a small world: asked alone or together, the same rows, bits and (nearly) features."""
    snapshot = small_snapshot(random_sessions(200, 500, seed=4), 200)
    rng = np.random.default_rng(5)
    queries = [clicked(*(f"i{row}" for row in rng.integers(0, 200, rng.integers(0, 12)))) for _ in range(40)]
    together = snapshot.candidates(snapshot.histories(queries))
    for user, query in enumerate(queries):
        alone = snapshot.candidates(snapshot.histories([query]))
        part = slice(together.starts[user], together.starts[user + 1])
        assert len(set(alone.rows.tolist())) == len(alone.rows)
        np.testing.assert_array_equal(alone.rows, together.rows[part])
        np.testing.assert_array_equal(alone.sources, together.sources[part])
        np.testing.assert_allclose(alone.features, together.features[part], atol=1e-4)


def test_items_are_described_by_the_type_that_is_asked_for() -> None:
    """Popularity, rate and rarity are those of the list's own intent, whatever the other lists of the batch ask for."""
    counts = np.zeros((len(TYPES), 6), np.float32)
    counts[0], counts[2, 1] = 3.0, 2.0
    wanted = Wanted(counts)
    facts = ItemFacts(
        np.ones((6, 3), np.float32),
        np.ones(6, np.float32),
        np.zeros(6, np.int64),
        wanted.facts,
        *REST,
    )
    for code in (0, 2):
        one = features_of(by_hand(HistoryBatch.of([[0]], intents=[code]), facts=facts), 1)
        assert one["wanted_popularity"] == np.float32(np.log1p(counts[code, 1]))
        assert one["wanted_rate"] == wanted.facts.rates[code, 1]
        assert one["wanted_rarity"] == wanted.facts.rarities[code]


def test_what_was_bought_at_any_time_is_described_and_may_be_bought_again() -> None:
    """Bought were 2, 4 and 1, of which 4 may be bought again: it becomes a candidate; places count from the latest."""
    batch = HistoryBatch.of([[0, 3]], owned=[[2, 4, 1]])
    candidates = by_hand(batch, again=np.array([[4]], np.int32))
    places = {row: features_of(candidates, row)["owned_place"] for row in (1, 2, 4, 3)}
    assert places == {row: np.float32(np.log1p(place)) for row, place in ((1, 0), (4, 1), (2, 2), (3, 0))}
    assert [features_of(candidates, row)["owned"] for row in (1, 2, 4, 3)] == [1.0, 1.0, 1.0, 0.0]
    assert names_of(candidates, 4) == {"recent"}
    assert features_of(candidates, 3)["owned_items"] == np.float32(np.log1p(3))
