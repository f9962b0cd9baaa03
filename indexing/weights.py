"""Weights and sizes that several sources share."""

from __future__ import annotations

import numpy as np

from indexing.histories import Floats, Int64s


def distance_weights(window: int, forward: float, backward: float, fade: float) -> Floats:
    """Weights of the places -window..window around a place, 0 for the place itself.

    >>> distance_weights(2, 1.0, 0.5, 0.5).tolist()
    [0.25, 0.5, 0.0, 1.0, 0.5]
    """
    fading = fade ** np.arange(window)
    return np.concatenate((backward * fading[::-1], [0.0], forward * fading)).astype(np.float32)


def session_recency(ends: Int64s, half_life_ms: float) -> Floats:
    """Weights of sessions by their age against the newest one, (S,)."""
    newest = ends.max(initial=0)
    return np.asarray(np.exp2((ends - newest) / half_life_ms), np.float32)


def table_size(most: int) -> int:
    """A power of two, at least twice the most keys that a table must hold.

    >>> table_size(700), table_size(0)
    (2048, 64)
    """
    size = 64
    while size < 2 * most:
        size *= 2
    return size
