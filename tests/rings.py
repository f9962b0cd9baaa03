"""A world whose right lists are known: walkers go round a ring of items, so the next place is the right answer."""

from __future__ import annotations

import numpy as np

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.learning import Learned, learn
from stream.knowledge.serving import LivePopularity, Query, Serving
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.window import Window
from stream.settings import ModelSettings, Settings

TYPES = Settings().event_types()
SMALL = ModelSettings(
    dimensions=16, length=10, inner=16, token_buckets=256, negatives=64, batch_events=256, first_epochs=4, epochs=2
)
ITEMS, STEPS = 200, 6
HOUR = 3_600_000


def walk(window: Window, sessions: range, *, noise: float = 0.1, items: int = ITEMS) -> None:
    """Sessions of STEPS clicks, an hour apart, each of its own user; a share of the steps goes anywhere."""
    rng = np.random.default_rng([5, sessions.start])
    for session in sessions:
        at = int(rng.integers(items))
        for step in range(STEPS):
            window.append(f"u{session}", f"i{at}", "click", session * HOUR + step * 1_000)
            at = int(rng.integers(items)) if rng.random() < noise else (at + 1) % items


def walked(sessions: int, *, noise: float = 0.1, items: int = ITEMS) -> Window:
    """A window of so many sessions."""
    window = Window(TYPES.names)
    walk(window, range(sessions), noise=noise, items=items)
    return window


def refreshed(
    window: Window, parent: Snapshot | None = None, known: int = 0, model: ModelSettings = SMALL, seed: int = 3
) -> Learned:
    """A refresh in which the parent has seen the first `known` events."""
    return learn(
        window,
        Catalogue(),
        parent,
        artifact_id="a2" if parent else "a1",
        event_types=TYPES,
        model=model,
        seed=seed,
        new_events=len(window) - known,
    )


def lists(snapshot: Snapshot, items: int = ITEMS) -> list[list[str]]:
    """What somebody who clicked an item is served, for each item."""
    serving = Serving(snapshot, Catalogue(), LivePopularity())
    queries = [Query([f"i{at}"], ["click"], [0], 0) for at in range(items)]
    return [ranked.item_ids for ranked in serving.recommend(queries)]


def found(snapshot: Snapshot, within: int, items: int = ITEMS) -> float:
    """The share of items whose next place stands among the first `within` of the list."""
    return sum(f"i{(at + 1) % items}" in listed[:within] for at, listed in enumerate(lists(snapshot, items))) / items
