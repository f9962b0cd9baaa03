"""Why an item is in a list: the items of the user's history that it follows from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexing.columns import TRENDING
from indexing.histories import Floats, Int32s
from indexing.sources.covisitation import LAST_WEIGHTS
from stream.knowledge.snapshot import Snapshot


def because(
    snapshot: Snapshot, vectors: Floats, history: Int32s, rows: Sequence[int], sources: Sequence[int]
) -> list[int]:
    """For each listed row the row of the history it follows from most, -1 where it is in the list because it is
    popular.

    An item of the history follows from itself; what is visited together with an item of the history follows from the
    one that says so most strongly (the newer, the stronger); anything else from the item with the most similar vector.
    `vectors` (N + E, D), `history` (T,) rows, oldest first, -1 for unknown ones.
    """
    last = list(dict.fromkeys(int(row) for row in history[::-1] if row >= 0))
    spoken = [_neighbours(snapshot, row, weight) for row, weight in zip(last, LAST_WEIGHTS, strict=False)]
    return [_origin(row, bits, last, spoken, vectors) if last else -1 for row, bits in zip(rows, sources, strict=True)]


def _neighbours(snapshot: Snapshot, row: int, weight: float) -> dict[int, float]:
    if row >= len(snapshot):
        return {}
    rows, scores = snapshot.covisitation.neighbours(row)
    return dict(zip(rows.tolist(), (scores * weight).tolist(), strict=True))


def _origin(row: int, bits: int, last: list[int], spoken: list[dict[int, float]], vectors: Floats) -> int:
    if row in last:
        return row
    strengths = [neighbours.get(row, 0.0) for neighbours in spoken]
    if any(strengths):
        return last[int(np.argmax(strengths))]
    if bits == TRENDING:
        return -1
    return last[int(np.argmax(vectors[last] @ vectors[row]))]
