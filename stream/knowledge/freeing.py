"""Giving back the memory of a version that serves no more, bit by bit: freeing a gigabyte at once makes others wait."""

from __future__ import annotations

import time

import numpy as np

from models.vocabulary import Vocabulary
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.popularity import LivePopularity
from stream.knowledge.serving import Serving

OURS = ("stream.", "models.", "indexing.")  # modules whose objects are looked into


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


def let_go(held: list[np.ndarray]) -> None:
    """Drops one array after the other; others run in between."""
    while held:
        held.pop()
        time.sleep(0)
