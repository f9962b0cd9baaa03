"""How often a log is worth going over is found out, not set."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from models.features import EMPTY, featurise
from models.vocabulary import Vocabulary
from stream.knowledge.forerunner import while_better
from stream.knowledge.learner import Learner, passes
from stream.knowledge.log import Log
from stream.knowledge.window import Window
from stream.settings import ModelSettings, Settings

TYPES = Settings().event_types()
MODEL = ModelSettings(
    dimensions=16, length=10, inner=16, token_buckets=16, negatives=64, batch_events=256, row_learning_rate=0.02
)
ITEMS = 200


def epochs_for(chance: float, model: ModelSettings = MODEL) -> tuple[int, list[float]]:
    """Walks of six clicks in which a step goes to the next item, or anywhere with this chance: epochs and progress."""
    rng, window = np.random.default_rng(0), Window(TYPES.names)
    for session in range(200):
        at = int(rng.integers(ITEMS))
        for step in range(6):
            window.append(f"u{session}", f"i{at}", "click", session * 3_600_000 + step * 1_000)
            at = int(rng.integers(ITEMS)) if rng.random() < chance else (at + 1) % ITEMS
    names = list(dict.fromkeys(window.item_ids))
    vocabulary, contents = Vocabulary(names), [EMPTY] * len(names)
    log = Log.of(window, vocabulary.lookup(list(window.item_ids)), TYPES.weights, len(window), 1_000)
    seen: list[float] = []
    features = featurise(contents, model.token_buckets)
    learner = Learner("a", TYPES, model, 3, vocabulary, features, [()] * len(names), lambda _, done: seen.append(done))
    cut = 840
    asked = np.flatnonzero(log.askable[cut:]) + cut
    return while_better(learner, log, cut, asked)[1], seen


def test_what_can_be_learned_is_gone_over_until_it_is() -> None:
    """840 events of a ring of 200 items: a pass has four looks at each step, which is not enough."""
    epochs, seen = epochs_for(0.0)
    assert epochs >= 8
    assert seen == sorted(seen)
    assert seen[-1] < 0.7


def test_what_cannot_be_learned_is_left_early() -> None:
    """Clicks that go anywhere: learning them by heart makes no list better."""
    assert epochs_for(1.0)[0] < epochs_for(0.0)[0]


@pytest.mark.parametrize(
    ("limits", "most"), [({"first_visits": 4 * 840}, 4), ({"first_epochs": 2}, 2), ({"first_visits": 1}, 1)]
)
def test_the_settings_allow_no_more(limits: dict[str, int], most: int) -> None:
    """Epochs and visits: four passes over 840 events are within 3,360 visits; the first pass is always made."""
    assert epochs_for(0.0, msgspec.structs.replace(MODEL, **limits))[0] == most


def test_passes_by_hand() -> None:
    """Within 10 visits: 3 events three times, 7 once, 11 once all the same; never more often than allowed."""
    assert [passes(5, 10, events) for events in (3, 7, 11, 1, 0)] == [3, 1, 1, 5, 5]
