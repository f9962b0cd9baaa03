"""Items that come in masses between two artifacts: lists stay the same whatever the order, and stay quick."""

from __future__ import annotations

import random

import numpy as np
import pytest

from models.features import featurise
from stream.knowledge import fresh, serving
from stream.knowledge.fresh import FreshVectors, least_of
from stream.knowledge.places import FirstNames
from stream.knowledge.popularity import LivePopularity
from stream.knowledge.serving import Serving
from stream.knowledge.snapshot import Snapshot
from stream.wire.messages import Item
from tests.worlds import catalogue_of, clicked, content, item, random_sessions, small_snapshot

OLD, TOPICS = 40, 4


@pytest.fixture
def snapshot() -> Snapshot:
    return small_snapshot(random_sessions(OLD, 3 * OLD, 1, TOPICS), OLD, topics=TOPICS)


def grown(snapshot: Snapshot, order: list[Item]) -> Serving:
    """A serving to which these items came after the snapshot."""
    made = Serving(snapshot, catalogue_of(*(item(row, TOPICS) for row in range(OLD))), LivePopularity())
    for offset, newer in enumerate(order):
        made.catalogue.apply(0, OLD + offset, newer.item_id, newer)
        made.item_changed(newer.item_id)
    return made


def test_lists_do_not_depend_on_the_order_in_which_masses_came(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more newer items than are looked at for a list, forwards, backwards and shuffled: the same lists and the
    same neighbours; and some newer items stand in them.
    """
    monkeypatch.setattr(fresh, "MOST_NEWER", 16)
    monkeypatch.setattr(serving, "SLICE", 7)
    masses = [item(row, TOPICS) for row in range(OLD, OLD + 400)]
    queries = [clicked(f"i{row}", f"i{row + TOPICS}") for row in range(8)]
    orders = [masses, masses[::-1], random.Random(1).sample(masses, len(masses))]
    servings = [grown(snapshot, order) for order in orders]
    first, *others = [[made.item_ids for made in one.recommend(queries)] for one in servings]
    assert others == [first, first]
    names = {f"i{row}" for row in range(OLD, OLD + 400)}
    assert any(names & {*listed} for listed in first)
    alike, *again = [one.similar("i3").item_ids for one in servings]
    assert again == [alike, alike]


def test_a_version_made_behind_masses_is_the_one_that_saw_them_come(snapshot: Snapshot) -> None:
    """All taken in at once, as a swap does it, or one by one; of some the newest record says that they are gone."""
    masses = [item(row, TOPICS) for row in range(OLD, OLD + 400)]
    saw = grown(snapshot, masses)
    for row in range(OLD, OLD + 400, 3):
        gone = item(row, TOPICS, available=False) if row % 2 else None
        saw.catalogue.apply(0, OLD + row + 1_000, f"i{row}", gone)
        saw.item_changed(f"i{row}")
    made = Serving(snapshot, saw.catalogue, LivePopularity())
    queries = [clicked(f"i{row}", f"i{row + OLD}") for row in range(8)]
    assert made.recommend(queries) == saw.recommend(queries)
    assert made.similar("i3") == saw.similar("i3")
    assert made.similar("i100") == saw.similar("i100")
    assert made.cold_items == saw.cold_items == 400
    assert {*made.popular(500)} == {f"i{row}" for row in range(OLD + 400) if row < OLD or (row - OLD) % 3}


def test_what_is_looked_at_are_the_least_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken bit by bit or at once."""
    monkeypatch.setattr(fresh, "MOST_NEWER", 10)
    keys = np.random.default_rng(2).permutation(100)
    kept = np.zeros(0, np.int64)
    for begin in range(0, 100, 7):
        kept = least_of(np.concatenate((kept, np.arange(begin, min(begin + 7, 100)))), keys)
    assert sorted(keys[kept].tolist()) == list(range(10))


def test_vectors_are_moved_seldom(snapshot: Snapshot) -> None:
    """Fifty thousand items in slices: room is made in proportion, so that what is copied stays in proportion too."""
    vectors, size, moves, held = FreshVectors(snapshot), OLD, 0, 0
    of_one_slice = featurise([content(0, TOPICS)] * 256, snapshot.tower.buckets)
    while size < 50_000:
        rows = np.arange(size, size + 256)
        size += 256
        vectors.encode(rows, of_one_slice, np.arange(size))
        moves += len(vectors._vectors) != held
        held = len(vectors._vectors)
    assert moves <= 12  # growing by 1,024 rows it was 49
    assert held <= 1.6 * size


def test_the_first_names_are_those_of_a_sort() -> None:
    """As a list of names grows at its end."""
    dice, names = random.Random(3), list[str]()
    first = FirstNames(most=20)
    for _ in range(40):
        names += [str(dice.random()) for _ in range(dice.randrange(30))]
        wanted = sorted(range(len(names)), key=names.__getitem__)[:20]
        assert first.of(names).tolist() == wanted


def test_popular_lists_name_newer_items_in_their_order() -> None:
    """With nothing learned and nothing observed the list is the first items by id, also where few are available."""
    count = 3_000
    catalogue = catalogue_of(*(item(row, TOPICS, available=row % 1_000 == 999) for row in range(count)))
    made = Serving(None, catalogue, LivePopularity())
    assert made.popular(20) == ["i1999", "i2999", "i999"]
