"""The compiled loop of the encoder's serving side (numba): one user after the other, flat arrays in, user vectors out.

`models.encoder` has the formula. Each user's sums run in one order whatever else is in the batch, so a user vector does
not depend on its batch, to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from models.gaps import FIRST, GAP_BUCKETS

EPSILON = 1e-5  # LayerNorm's; the same in torch
REASSOCIATED = {"reassoc", "contract"}  # sums of products may be vectorised; NaN and infinity stay what they are


@njit(cache=True, nogil=True)
def gap_bucket(milliseconds: int) -> int:
    """floor(log2(1 + seconds)), at most GAP_BUCKETS - 1; spans below zero count as zero."""
    seconds, bucket = max(milliseconds, 0) // 1_000 + 1, 0
    while seconds > 1 and bucket < GAP_BUCKETS - 1:
        seconds >>= 1
        bucket += 1
    return bucket


@njit(cache=True, nogil=True, fastmath=REASSOCIATED)
def _standardise(x: Any, out: Any) -> None:
    mean, variance, size = np.float32(0.0), np.float32(0.0), np.float32(x.size)
    for at in range(x.size):
        mean += x[at]
    mean /= size
    for at in range(x.size):
        out[at] = x[at] - mean
        variance += out[at] * out[at]
    scale = np.float32(1.0) / np.sqrt(variance / size + np.float32(EPSILON))
    for at in range(x.size):
        out[at] *= scale


@njit(cache=True, nogil=True, fastmath=REASSOCIATED)
def _add_product(x: Any, matrix: Any, out: Any) -> None:
    """Adds x @ matrix to out."""
    for row in range(x.size):
        for column in range(out.size):
            out[column] += x[row] * matrix[row, column]


@njit(cache=True, nogil=True, fastmath=REASSOCIATED)
def _dot(a: Any, b: Any) -> Any:
    total = np.float32(0.0)
    for at in range(a.size):
        total += a[at] * b[at]
    return total


@njit(cache=True, nogil=True)
def _newest_known(rows: Any, start: int, end: int, limit: int, kept: Any) -> int:
    """Positions of the newest events with an item 0..limit-1, newest first; returns how many."""
    count, at = 0, end - 1
    while at >= start and count < kept.size:
        if 0 <= rows[at] < limit:
            kept[count] = at
            count += 1
        at -= 1
    return count


@njit(cache=True, nogil=True, fastmath=REASSOCIATED)
def _normalise(x: Any) -> None:
    """Divides by the L2 norm, in place; zeros stay zeros."""
    norm = np.sqrt(_dot(x, x))
    if norm > 0.0:
        x /= norm


@njit(cache=True, nogil=True, fastmath=REASSOCIATED)
def _embed(rows: Any, types: Any, times: Any, kept: Any, count: int, tables: Any, x: Any, h: Any) -> None:
    """Inputs x and standardised inputs h, newest first: item vector, event type, time since the event before."""
    vectors, type_vectors, gap_vectors = tables
    for back in range(count):
        at, gap = kept[back], FIRST
        if back < count - 1:
            gap = gap_bucket(times[at] - times[kept[back + 1]])
        row, kind = rows[at], types[at]
        for column in range(x.shape[1]):
            x[back, column] = vectors[row, column] + type_vectors[kind, column] + gap_vectors[gap, column]
        _standardise(x[back], h[back])


@njit(cache=True, nogil=True, fastmath=REASSOCIATED)
def _attend(asking: Any, distances: Any, recency: Any, spans: Any, h: Any, count: int, scores: Any, out: Any) -> None:
    """One head: the mean of h, weighted by softmax of (asking . h + what distance and age are worth)."""
    highest, total = np.float32(-np.inf), np.float32(0.0)
    for back in range(count):
        scores[back] = _dot(asking, h[back]) + distances[back] + recency[spans[back]]
        highest = max(highest, scores[back])
    for back in range(count):
        scores[back] = np.exp(scores[back] - highest)
        total += scores[back]
    out[:] = np.float32(0.0)
    for back in range(count):
        weight = scores[back] / total
        for column in range(out.size):
            out[column] += weight * h[back, column]


@njit(cache=True, nogil=True, fastmath=REASSOCIATED)
def encode_users(histories: Any, tables: Any, attention: Any, feed_forward: Any, norms: Any, out: Any) -> None:
    """User vectors (B, D) into `out`, which holds zeros: they stay where no item of a history is known.

    `histories`: rows, types, times (T,), starts (B + 1,), intents (B,); `tables`: vectors of items, types and gaps;
    `attention`: ask (D, H D), give (H D, D), give_shift (D,), distances (H, L), recency (H, buckets); `feed_forward`:
    inner (D, F), inner_bias, outer (F, D), outer_bias; `norms`: norm1, norm2, norm3 (2, D), vectors of intents.
    """
    rows, types, times, starts, intents = histories
    ask, give, give_shift, distances, recency = attention
    inner, inner_bias, outer, outer_bias = feed_forward
    norm1, norm2, norm3, intent_vectors = norms
    (heads, length), size = distances.shape, out.shape[1]
    kept, spans = np.zeros(length, np.int64), np.zeros(length, np.int64)
    x, h = np.zeros((length, size), np.float32), np.zeros((length, size), np.float32)
    scores, standard = np.zeros(length, np.float32), np.zeros(size, np.float32)
    asking, pooled = np.zeros(heads * size, np.float32), np.zeros(heads * size, np.float32)
    y, hidden = np.zeros(size, np.float32), np.zeros(inner_bias.size, np.float32)
    for user in range(starts.size - 1):
        # 1. the newest known events as inputs
        count = _newest_known(rows, starts[user], starts[user + 1], tables[0].shape[0], kept)
        if count == 0:
            continue
        _embed(rows, types, times, kept, count, tables, x, h)
        # 2. attention, in which only the last event asks
        asking[:] = np.float32(0.0)
        _add_product(h[0] * norm1[0] + norm1[1], ask, asking)
        for back in range(count):
            spans[back] = gap_bucket(times[kept[0]] - times[kept[back]])
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            _attend(asking[part], distances[head], recency[head], spans, h, count, scores, pooled[part])
        y[:] = x[0] + give_shift
        _add_product(pooled, give, y)
        # 3. feed-forward
        _standardise(y, standard)
        hidden[:] = inner_bias
        _add_product(standard * norm2[0] + norm2[1], inner, hidden)
        y += outer_bias
        _add_product(np.maximum(hidden, np.float32(0.0)), outer, y)
        # 4. turned towards what is asked for, normalised
        _standardise(y, standard)
        y[:] = standard * norm3[0] + norm3[1]
        _normalise(y)
        y += intent_vectors[intents[user]]
        _normalise(y)
        out[user] = y
