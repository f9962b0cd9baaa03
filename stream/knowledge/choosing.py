"""From scored candidates to what stands in which place of each list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from indexing.arrays import filled
from indexing.candidates import Candidates
from indexing.histories import Floats, Int32s, Int64s
from indexing.lists import best_of_lists
from models.vocabulary import UNKNOWN

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ranking:
    """Lists of B users: `positions` (B, K) in the candidates, best first, -1 behind the last; `scores` (M,); `chances`
    (B, K) of each to stand there, `drawn` (B,) how many were drawn by lot.
    """

    candidates: Candidates
    scores: Floats
    positions: Int64s
    chances: Floats
    drawn: Int64s

    def rows(self) -> Int32s:
        """Item rows of the lists, (B, K), -1 behind the last."""
        if len(self.candidates.rows) == 0:
            return np.full(self.positions.shape, UNKNOWN, np.int32)
        return np.where(self.positions >= 0, self.candidates.rows[self.positions], UNKNOWN).astype(np.int32)


class Explorable(NamedTuple):
    """The `candidates` (M,) that places for cold items are for, and which `users` (B,) have any."""

    candidates: Bools
    users: Bools


def choose(
    candidates: Candidates,
    scores: Floats,
    counts: int | Sequence[int],
    *,
    keys: Int64s,
    explorable: Explorable | None,
    new_slots: int,
    lots: Callable[[int], int] | None,
) -> Ranking:
    """The `counts` best of each user's candidates by `scores` (M,), -inf for those that no list may hold.

    `keys` (N + E,): the order of rows with equal scores. `new_slots` places of a list of ten or more are kept for the
    `explorable` candidates, drawn by what `lots` says of the user. The scores of what was drawn change.
    """
    users = len(candidates.starts) - 1
    lengths = np.empty(users, np.int64)
    lengths[:] = counts
    longest = counts if isinstance(counts, int) else max(counts, default=0)
    positions = filled((users, longest), UNKNOWN, np.int64)
    chances, drawn, numbers = (
        np.zeros(positions.shape, np.float32),
        np.zeros(users, np.int64),
        np.zeros(users, np.uint64),
    )
    if explorable is None:
        cold, new_slots = np.zeros(len(scores), np.bool_), 0
    else:
        cold = explorable.candidates
        if lots is not None:
            for user in explorable.users.nonzero()[0].tolist():
                numbers[user] = lots(user)
    listed = keys[candidates.rows], scores, candidates.starts, lengths, cold, new_slots, numbers
    best_of_lists(*listed, candidates.sources, (positions, chances, drawn))
    return Ranking(candidates, scores, positions, chances, drawn)
