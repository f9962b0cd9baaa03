"""Histories cut into pieces and pieces into batches: what one training step sees, as padded arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from models.gaps import GAP_BUCKETS, gap_buckets, gaps_before

Ints = npt.NDArray[np.int64]
POOL = 32  # batches whose pieces are sorted by length together: little padding, still random


class Histories(NamedTuple):
    """All users' events, flat, oldest first within a user.

    `rows`, `types`, `times` (T,); `starts` (U + 1,); `weights` (T,) float32: what the event weighs as a target, 0 for
    context.
    """

    rows: Ints
    types: Ints
    times: Ints
    starts: Ints
    weights: npt.NDArray[np.float32]


class Batch(NamedTuple):
    """B pieces padded to L inputs: `rows`, `types`, `gaps` (B, L), `spans` (B, L, L), and Q asking positions.

    `intents` (B, L): the type of the event that comes next.
    `asking` (2, Q): piece and position; `targets` (Q,) the row that comes next, `weights` (Q,).
    """

    rows: Ints
    types: Ints
    gaps: Ints
    spans: Ints
    intents: Ints
    asking: Ints
    targets: Ints
    weights: npt.NDArray[np.float32]


class Pieces(NamedTuple):
    """Cuts of the flat histories: inputs `first`..`last` - 1, of which those from `asks` on ask for what came next."""

    first: Ints
    asks: Ints
    last: Ints

    def take(self, chosen: Ints) -> Pieces:
        """The chosen pieces, in that order."""
        return Pieces(self.first[chosen], self.asks[chosen], self.last[chosen])


def cut(histories: Histories, length: int) -> Pieces:
    """Pieces of at most `length` inputs; every target is asked for once, with half a piece of context or all there is.

    Pieces without any target are left out.
    """
    begin, inputs = histories.starts[:-1], np.diff(histories.starts) - 1  # the last event of a user asks for nothing
    stride = max(length // 2, 1)
    counts = np.where(inputs > 0, 1 + np.maximum(-(-(inputs - length) // stride), 0), 0)
    user = np.repeat(np.arange(len(inputs)), counts)
    nth = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
    last = np.minimum(length + nth * stride, inputs[user])
    first = np.maximum(last - length, 0)
    asks = np.where(nth == 0, 0, length + (nth - 1) * stride)
    pieces = Pieces(begin[user] + first, begin[user] + asks, begin[user] + last)
    targets = np.concatenate([[0], np.cumsum(histories.weights > 0)])
    wanted = targets[pieces.last + 1] - targets[pieces.asks + 1] > 0
    return pieces.take(np.flatnonzero(wanted))


def batches(histories: Histories, pieces: Pieces, events: int, rng: np.random.Generator) -> Iterator[Batch]:
    """One epoch: every piece once, in random order, batches of about `events` inputs with padding."""
    for chosen in plan(pieces, events, rng):
        yield pad(histories, pieces.take(chosen))


def plan(pieces: Pieces, events: int, rng: np.random.Generator) -> list[Ints]:
    """Which pieces make up each batch of one epoch."""
    lengths = pieces.last - pieces.first
    order = rng.permutation(len(lengths)).astype(np.int64)
    pools = np.cumsum(lengths[order]) // max(events * POOL, 1)
    planned: list[Ints] = []
    for pool in np.split(order, np.flatnonzero(np.diff(pools)) + 1):
        by_length = pool[np.argsort(lengths[pool], kind="stable")]
        while len(by_length):
            padded = lengths[by_length] * np.arange(1, len(by_length) + 1)
            size = max(int(np.searchsorted(padded, events, "right")), 1)
            planned.append(by_length[:size])
            by_length = by_length[size:]
    return [planned[at] for at in rng.permutation(len(planned))]


def pad(histories: Histories, pieces: Pieces) -> Batch:
    """The pieces as padded arrays; padding repeats a piece's last input and asks for nothing."""
    lengths = pieces.last - pieces.first
    position = np.arange(int(lengths.max()))
    inside = position < lengths[:, None]
    at = np.minimum(pieces.first[:, None] + position, pieces.last[:, None] - 1)  # (B, L)
    times = histories.times[at]
    gaps = gaps_before(times.ravel(), np.arange(len(lengths)) * len(position)).reshape(at.shape)
    spans = gap_buckets(times[:, :, None] - times[:, None, :])
    asking = inside & (at >= pieces.asks[:, None]) & (histories.weights[at + 1] > 0)
    next_event = at[asking] + 1
    return Batch(
        rows=histories.rows[at],
        types=histories.types[at],
        gaps=gaps,
        spans=np.minimum(spans, GAP_BUCKETS - 1),
        intents=histories.types[at + 1],
        asking=np.stack(np.nonzero(asking)),
        targets=histories.rows[next_event],
        weights=histories.weights[next_event],
    )
