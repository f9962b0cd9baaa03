"""Giving back the memory of a version that serves no more, bit by bit: freeing a gigabyte at once makes others wait."""

from __future__ import annotations

import time

import numpy as np

from models.vocabulary import Vocabulary
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.popularity import LivePopularity
from stream.knowledge.serving import Serving

OURS = ("stream.", "models.", "indexing.")  # modules whose objects are looked into


NAMES = 1_000  # strings that are freed together
PAUSE_SECONDS = 0.0002  # no more than a chance for whoever waits for the interpreter


def parts_of(serving: Serving) -> list[object]:
    """What makes a version large, in parts that are each freed quickly: its arrays, and its items' names in slices."""
    names = [] if serving.snapshot is None else serving.snapshot.vocabulary.ids
    slices = [names[begin : begin + NAMES] for begin in range(0, len(names), NAMES)]
    return [*slices, *arrays_within(serving)]


def arrays_within(serving: Serving) -> list[np.ndarray]:
    """The arrays that something of ours consists of, whatever parts they belong to, but not those of the catalogue."""
    found: list[np.ndarray] = []
    seen: set[int] = set()
    waiting: list[object] = [serving]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, np.ndarray):
            found.append(part)
        elif isinstance(part, tuple):
            waiting += part
        elif isinstance(part, dict):
            waiting += part.values()
        elif type(part).__module__.startswith(OURS) and not isinstance(part, Catalogue | LivePopularity | Vocabulary):
            waiting += vars(part).values()
    return found


def let_go(held: list[object]) -> None:
    """Drops one part after the other; others run in between."""
    while held:
        held.pop()
        time.sleep(PAUSE_SECONDS)
