"""Weights of event types: what counts, for how much, what is context only, and what is not wanted."""

from __future__ import annotations

import pytest

from indexing.columns import NEGATIVE
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.learning import Learned, NothingToLearnError, learn
from stream.knowledge.popularity import LivePopularity
from stream.knowledge.serving import Query, Serving
from stream.knowledge.window import Window
from stream.settings import ModelSettings
from stream.wire.event_types import EventType, EventTypes

SMALL = ModelSettings(dimensions=16, length=10, inner=16, token_buckets=64, negatives=32, first_epochs=2)
TYPES = EventTypes(
    [EventType("listen", 1.0), EventType("buy", 4.0), EventType("shown", 0.0), EventType("thumbs_down", -2.0)]
)
HOUR = 3_600_000


def refresh(window: Window) -> Learned:
    return learn(
        window, Catalogue(), None, artifact_id="a1", event_types=TYPES, model=SMALL, seed=1, new_events=len(window)
    )


@pytest.fixture(scope="module")
def learned() -> Learned:
    """Everybody listens to a, b, c; is shown `banner` between a and b, turns thumbs down on `noise` before c."""
    window = Window(TYPES.names)
    visit = [("a", "listen"), ("banner", "shown"), ("b", "listen"), ("noise", "thumbs_down"), ("c", "buy")]
    for user in range(80):
        for step, (item, kind) in enumerate(visit):
            window.append(f"u{user}", item, kind, user * HOUR + step * 1_000, offset=len(window))
    return refresh(window)


def test_only_positive_weights_are_counted_by_the_memories(learned: Learned) -> None:
    """What was shown or rejected is popular nowhere, goes with nothing, and leads to nothing."""
    snapshot = learned.snapshot
    row = snapshot.vocabulary.rows
    for name, count in (("a", 80), ("b", 80), ("c", 80), ("banner", 0), ("noise", 0)):
        known = snapshot.counts[row[name]]
        assert (known > 0) == (count > 0), name
        assert (snapshot.trending.counts[row[name]] > 0).all() == (count > 0), name
        assert (len(snapshot.covisitation.neighbours(row[name])[0]) > 0) == (count > 0), name
    assert {row["banner"], row["noise"]}.isdisjoint(snapshot.covisitation.rows.tolist())
    assert not snapshot.wanted.counts[[2, 3]].any()


def test_only_positive_weights_are_targets(learned: Learned) -> None:
    """Listening and buying were asked for in training, being shown and thumbs down never."""
    assert learned.snapshot.encoder.asked_for.tolist() == [True, True, False, False]
    assert learned.report["held_out"]["queries"] == 2 * 80 // 10  # b and c of the newest tenth: a has nothing before


def test_a_negative_weight_takes_an_item_out_of_the_lists_until_it_is_wanted_again(learned: Learned) -> None:
    """By the weight, whatever the type is called; nothing follows from it either."""
    serving = Serving(learned.snapshot, Catalogue(), LivePopularity())
    assert learned.snapshot.unwanted == ("thumbs_down",)
    assert learned.snapshot.kinds[TYPES.code("thumbs_down")] == NEGATIVE

    def listed(*history: tuple[str, str]) -> list[str]:
        items, kinds = zip(*history, strict=True)
        return serving.recommend([Query(items, kinds, range(len(items)), len(items), count=4)])[0].item_ids

    assert "b" in listed(("a", "listen"))
    assert "b" not in listed(("b", "thumbs_down"), ("a", "listen"))
    assert "b" in listed(("b", "thumbs_down"), ("a", "listen"), ("b", "listen"))
    assert "banner" in listed(("a", "listen"), ("banner", "shown"), ("noise", "thumbs_down"))


def test_without_any_positive_event_there_is_nothing_to_learn() -> None:
    """A log of what was shown and rejected."""
    window = Window(TYPES.names)
    for at in range(300):
        window.append(f"u{at % 9}", f"i{at % 7}", "shown" if at % 2 else "thumbs_down", at * 1_000, offset=at)
    with pytest.raises(NothingToLearnError):
        refresh(window)
