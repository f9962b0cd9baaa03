"""Cutting histories into pieces and batches: every target once, nothing from the future."""

from __future__ import annotations

import numpy as np
import pytest

from models.sequences import Histories, batches, cut


def histories(lengths: list[int], weights: np.ndarray | None = None) -> Histories:
    """Events whose row is their own position: a target is known by its row."""
    total = sum(lengths)
    return Histories(
        rows=np.arange(total),
        types=np.zeros(total, np.int64),
        times=np.arange(total) * 1_000,
        starts=np.concatenate(([0], np.cumsum(lengths))).astype(np.int64),
        weights=np.ones(total, np.float32) if weights is None else weights,
    )


@pytest.mark.parametrize("lengths", [[1], [2], [5], [6], [7], [8], [23], [1, 9, 2, 40, 1, 6]])
def test_every_event_but_the_first_of_a_user_is_asked_for_once(lengths: list[int]) -> None:
    """Over one epoch, whatever the lengths; a user's first event has nothing before it."""
    log = histories(lengths)
    asked = np.concatenate(
        [np.zeros(0, np.int64), *(b.targets for b in batches(log, cut(log, 6), 16, np.random.default_rng(0)))]
    )
    expected = np.setdiff1d(np.arange(sum(lengths)), log.starts[:-1])
    assert np.array_equal(np.sort(asked), expected)


def test_a_position_asks_for_the_event_right_after_it() -> None:
    """With rows that are positions, each target is the asking row plus one, and lies in the same user's history."""
    log = histories([3, 30, 12, 2])
    for batch in batches(log, cut(log, 6), 24, np.random.default_rng(1)):
        asking = batch.rows[tuple(batch.asking)]
        assert np.array_equal(asking + 1, batch.targets)
        assert not np.isin(batch.targets, log.starts).any()


def test_long_histories_keep_half_a_piece_of_context() -> None:
    """In a piece of 6, targets after the first piece see at least 3 earlier inputs."""
    log = histories([40])
    for batch in batches(log, cut(log, 6), 6, np.random.default_rng(2)):
        for piece, position in batch.asking.T:
            earlier = position + 1
            assert earlier >= 4 or batch.rows[piece, 0] == 0


def test_events_of_no_weight_are_context_only() -> None:
    """They are inputs, never targets; a user without any target costs nothing."""
    weights = np.zeros(12, np.float32)
    weights[[4, 5]] = 2.0
    log = histories([6, 6], weights)
    found = list(batches(log, cut(log, 6), 64, np.random.default_rng(3)))
    assert sorted(np.concatenate([b.targets for b in found]).tolist()) == [4, 5]
    assert max(int(b.rows.max()) for b in found) < 6
    assert np.concatenate([b.weights for b in found]).tolist() == [2.0, 2.0]
