"""Who answers in an evaluation: the serving code with the settings that a worker would have."""

from __future__ import annotations

from stream.evaluation.answering import Answerer
from stream.settings import RecommendSettings
from tests.worlds import catalogue_of, clicked, item, random_sessions, small_snapshot

TOUCHED, ITEMS = 60, 90


def test_kept_places_are_those_of_the_settings() -> None:
    """A third of the catalogue is untouched: as many of the first ten as the settings keep are drawn from it."""
    snapshot = small_snapshot(random_sessions(TOUCHED, 400, seed=3), ITEMS)
    catalogue = catalogue_of(*(item(row, 5) for row in range(ITEMS)))
    untouched = {f"i{row}" for row in range(ITEMS) if snapshot.counts[row] == 0}
    assert len(untouched) >= ITEMS - TOUCHED
    for slots in (2, 4):
        answerer = Answerer("full", snapshot, catalogue, RecommendSettings(new_slots=slots))
        (listed,) = answerer.answer([clicked("i1", "i6")], 20)
        assert set(listed[10 - slots : 10]) <= untouched
    ours, others = (
        Answerer("full", snapshot, catalogue, RecommendSettings(seed=seed)).answer([clicked("i1", "i6")], 20)
        for seed in (1, 2)
    )
    assert ours[0][:8] == others[0][:8]
