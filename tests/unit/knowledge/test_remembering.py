"""Memories rebuilt between two fits: what counts is as after a whole refresh, what was trained is as before."""

from __future__ import annotations

import msgspec
import numpy as np

from models.features import ItemContent, featurise
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.learning import learn
from stream.knowledge.remembering import Remembered
from stream.knowledge.serving import LivePopularity, Query, Serving
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.window import Window
from stream.settings import ModelSettings, Settings
from stream.wire.messages import Item
from tests.worlds import catalogue_of

TYPES = Settings().event_types()
COUNTING = ModelSettings(dimensions=16, token_buckets=64, first_epochs=0, epochs=0, ranker_queries=0, held_out=0.0)
TRAINED = msgspec.structs.replace(COUNTING, first_epochs=1, epochs=1)
HOUR = 3_600_000


def walk(window: Window, sessions: range, items: int) -> None:
    """Sessions of five clicks round a ring of items, one of six removes the last one again."""
    rng = np.random.default_rng(sessions.start)
    for session in sessions:
        start = int(rng.integers(items))
        for step in range(5):
            window.append(f"u{session % 40}", f"i{(start + step) % items}", "click", session * HOUR + step * 1_000)
        if session % 4 == 0:
            window.append(f"u{session % 40}", f"i{start}", "purchase", session * HOUR + 5_500)
        if session % 6 == 0:
            window.append(f"u{session % 40}", f"i{(start + 4) % items}", "remove", session * HOUR + 6_000)


def learned(window: Window, parent: Snapshot | None, model: ModelSettings, new_events: int) -> Snapshot:
    return learn(
        window, Catalogue(), parent, artifact_id="a", event_types=TYPES, model=model, seed=3, new_events=new_events
    ).snapshot


def remembered(snapshot: Snapshot, window: Window, new_events: int, catalogue: Catalogue | None = None) -> Snapshot:
    return Remembered(window, catalogue or Catalogue(), TYPES, COUNTING).into(snapshot, new_events)


def test_memories_are_those_of_a_whole_refresh() -> None:
    """With nothing trained, a refresh and a rebuild come to the same arrays, items that are new included."""
    window = Window(TYPES.names)
    walk(window, range(60), items=20)
    before = learned(window, None, COUNTING, len(window))
    walk(window, range(60, 90), items=25)
    window.trim(300)
    whole = learned(window, before, COUNTING, 155)
    quick = remembered(before, window, 155)
    assert whole.vocabulary == quick.vocabulary
    assert np.array_equal(whole.counts, quick.counts)
    assert np.array_equal(whole.trending.order, quick.trending.order)
    assert np.array_equal(whole.wanted.counts, quick.wanted.counts)
    assert np.array_equal(whole.habits.counts, quick.habits.counts)
    assert np.array_equal(whole.repurchase, quick.repurchase)
    assert list(whole.memories) == list(quick.memories)
    for source, memory in whole.memories.items():
        for name, array in memory.arrays().items():
            assert np.array_equal(array, quick.memories[source].arrays()[name]), (source, name)


def test_what_was_trained_stays_and_new_items_are_listed() -> None:
    """A new item has no vector of its own, yet follows where it was visited; encoder, index and ranker are the same."""
    window = Window(TYPES.names)
    walk(window, range(60), items=20)
    before = learned(window, None, TRAINED, len(window))
    for session in range(60, 90):
        window.append(f"v{session}", "i3", "click", session * HOUR)
        window.append(f"v{session}", "new", "click", session * HOUR + 1_000)
    after = remembered(before, window, 60, catalogue_of(Item("new", title="a new thing")))
    assert np.array_equal(after.item_vectors[: len(before)], before.item_vectors)
    assert after.vectors is before.vectors
    assert after.ranker is before.ranker
    row = after.vocabulary.rows["new"]
    content = after.tower.encode_features(featurise([_content("a new thing")], after.tower.buckets))[0]
    assert np.allclose(after.item_vectors[row], content)
    assert after.counts[row] == 30
    query = Query(["i3"], ["click"], [100 * HOUR], 100 * HOUR, count=15)
    for snapshot, listed in ((before, False), (after, True)):
        found = Serving(snapshot, Catalogue(), LivePopularity()).recommend([query])[0].item_ids
        assert ("new" in found) is listed


def _content(title: str) -> ItemContent:
    return ItemContent(title=title, category=(), brand=None, price=None)
