"""One query: what is made of it does not depend on who else asks, and shortcuts of small batches change nothing."""

from __future__ import annotations

from dataclasses import fields, replace

import msgspec
import numpy as np
import pytest

from models.features import featurise
from stream.knowledge.fresh import FreshVectors
from stream.knowledge.serving import Query
from stream.knowledge.snapshot import Snapshot
from tests.worlds import clicked, content, random_sessions, small_snapshot

COUNT, TOPICS, COLD = 60, 5, 12


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    """The last COLD of its items were never touched."""
    return small_snapshot(random_sessions(COUNT - COLD, 200, seed=3, topics=TOPICS), COUNT, topics=TOPICS)


def queries() -> list[Query]:
    asked = clicked("i1", "i2")
    return [
        asked,
        clicked("i3", "i4", types=["purchase", "click"]),
        clicked(),
        clicked("nobody's"),
        msgspec.structs.replace(asked, intent="purchase"),
        msgspec.structs.replace(asked, intent="never heard of", purchased=["i7", "nobody's", "i8"]),
    ]


def test_a_history_is_read_alike_alone_and_among_others(snapshot: Snapshot) -> None:
    """With purchases and without, known intents and not: each part of the batch is what the query makes alone."""
    together = snapshot.histories(queries())
    for user, query in enumerate(queries()):
        alone, taken = snapshot.histories([query]), together.take(np.array([user]))
        for field in fields(alone):
            mine, theirs = getattr(alone, field.name), getattr(taken, field.name)
            assert mine.dtype == theirs.dtype
            assert mine.tolist() == theirs.tolist()
    usual = snapshot.intent_code(None)
    intents = [usual, usual, usual, usual, snapshot.intent_code("purchase"), usual]
    assert together.intents.tolist() == intents
    assert np.diff(together.owned_starts).tolist() == [0, 1, 0, 0, 0, 3]
    assert together.owned.tolist() == [3, 7, -1, 8]


def test_all_known_is_what_it_says(snapshot: Snapshot) -> None:
    """Of all queries with known items only; one unknown item or one empty history among them and it is not so."""
    known = [query for query in queries() if query.items and "nobody's" not in query.items]
    assert snapshot.histories(known).all_known()
    for other in (clicked(), clicked("nobody's"), clicked("i1", "nobody's")):
        assert not snapshot.histories([*known, other]).all_known()
        assert not snapshot.histories([other]).all_known()


def test_kept_places_change_nothing_where_no_candidate_is_new(snapshot: Snapshot) -> None:
    """While no untouched item may be listed, lists with places for them are those without; else they are others."""
    available = np.ones(COUNT, np.bool_)
    available[COUNT - COLD :] = False
    batch = snapshot.histories([clicked("i1", "i6"), clicked("i2", "i7")])
    for fresh, same in ((replace(snapshot.plain, available=available), True), (snapshot.plain, False)):
        plain, kept = (snapshot.rank(batch, 15, fresh=fresh, new_slots=slots) for slots in (0, 2))
        assert (plain.rows().tolist() == kept.rows().tolist()) == same
        assert (kept.drawn.tolist() == [0, 0]) == same
        if same:
            assert plain.scores.tolist() == kept.scores.tolist()
            assert plain.chances.tolist() == kept.chances.tolist()


def test_vectors_that_are_served_are_current_and_nobodys_to_change(snapshot: Snapshot) -> None:
    """An item encoded, once more or behind the others, is in the next view; the view itself cannot be written."""
    vectors = FreshVectors(snapshot)
    for rows, topic in (([COUNT], 0), ([COUNT + 1], 1), ([COUNT], 2)):
        features = featurise([content(topic, TOPICS)], snapshot.tower.buckets)
        keys = np.arange(COUNT + 1 if rows == [COUNT] and topic == 0 else COUNT + 2)
        vectors.encode(np.array(rows), features, keys)
        fresh = vectors.fresh(np.ones(len(keys), np.bool_), keys)
        assert fresh.vectors.shape[0] == len(keys)
        assert fresh.vectors[rows].tolist() == snapshot.tower.encode_features(features).tolist()
        assert fresh.encoder.item_vectors is fresh.vectors
        with pytest.raises(ValueError, match="read-only"):
            fresh.vectors[0] = 0.0
