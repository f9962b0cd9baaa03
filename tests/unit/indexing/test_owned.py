"""What users have bought: collected from a log by user, listed where it is bought again, and described."""

from __future__ import annotations

import numpy as np

from indexing.histories import HistoryBatch
from indexing.owned import LISTED, MOST, bought_before, to_buy_again


def collected(rows: list[int], purchases: list[int], *parts: tuple[int, int]) -> list[list[int]]:
    """What was bought in each part of a log."""
    begins, ends = (np.array(column, np.int64) for column in zip(*parts, strict=True))
    found, starts = bought_before(np.array(rows, np.int32), np.array(purchases, np.bool_), begins, ends)
    return [part.tolist() for part in np.split(found, starts[1:-1])]


def test_different_items_in_the_order_of_their_latest_purchase() -> None:
    """7, 5, 7 bought, 6 clicked: 5 then 7; nothing of after the end; unknown items are left out."""
    rows, purchases = [7, 5, 6, 7, 8, -1], [1, 1, 0, 1, 1, 1]
    assert collected(rows, purchases, (0, 4), (0, 2), (1, 5), (3, 3), (4, 6)) == [[5, 7], [7, 5], [5, 7, 8], [], [8]]


def test_the_latest_of_many() -> None:
    """Of 250 items bought one after another the last 200 stay, as in a user's state."""
    assert collected(list(range(250)), [1] * 250, (0, 250)) == [list(range(250 - MOST, 250))]


def test_a_log_without_purchases_costs_nothing() -> None:
    """No rows, all lists empty."""
    assert collected([1, 2], [0, 0], (0, 1), (0, 2)) == [[], []]


def test_only_what_is_bought_again_is_listed_newest_first() -> None:
    """Item 1 is bought once; row 9 is newer than the artifact; of many the newest are listed."""
    again = np.array([True, False, True, True])
    batch = HistoryBatch.of([[0], [0], [0]], owned=[[3, 1, 9, 2], [], [1]])
    assert to_buy_again(batch, again).tolist() == [[2, 3, -1, -1], [-1, -1, -1, -1], [-1, -1, -1, -1]]
    many = HistoryBatch.of([[0]], owned=[list(range(100))])
    assert to_buy_again(many, np.ones(100, np.bool_)).tolist() == [list(range(99, 99 - LISTED, -1))]
    assert to_buy_again(HistoryBatch.of([[0]]), again).shape == (1, 0)


def test_batches_keep_what_was_bought_when_taken_apart_and_renumbered() -> None:
    """Users 2 and 0 of three; rows 0 1 2 become 5, unknown, 4."""
    batch = HistoryBatch.of([[0], [1], [2, 1]], owned=[[0, 1], [2], [1, 2]])
    taken = batch.take(np.array([2, 0])).renumbered(np.array([5, -1, 4], np.int32))
    assert taken.rows.tolist() == [4, -1, 5]
    assert (taken.owned.tolist(), taken.owned_starts.tolist()) == ([-1, 4, 5, -1], [0, 2, 4])
