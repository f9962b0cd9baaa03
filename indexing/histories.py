"""Flat arrays: histories of many users to make lists for, and interactions of many users to build sources from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int8s = npt.NDArray[np.int8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

LONGEST_SESSION = 200  # events; positions within a session fit in a byte


@dataclass(frozen=True)
class HistoryBatch:
    """Histories of B users, T interactions together, oldest first within a user.

    `rows` (T,) item rows, -1 where the item has none; `types` (T,) codes of event types; `times` (T,) epoch
    milliseconds; `starts` (B + 1,) where each user begins; `now` (B,) epoch milliseconds of the event that asks.
    """

    rows: Int32s
    types: Int8s
    times: Int64s
    starts: Int64s
    now: Int64s

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of(
        cls,
        rows: Sequence[Sequence[int]],
        types: Sequence[Sequence[int]] | None = None,
        times: Sequence[Sequence[int]] | None = None,
        now: Sequence[int] | None = None,
    ) -> HistoryBatch:
        """A batch from nested lists. Types default to 0, times to one second per step, `now` to the last time.

        >>> HistoryBatch.of([[4, 2], [], [7]]).starts.tolist()
        [0, 2, 2, 3]
        """
        steps = [[1_000 * step for step in range(len(history))] for history in rows] if times is None else times
        last = [history[-1] if len(history) else 0 for history in steps] if now is None else now
        codes = [[0] * len(history) for history in rows] if types is None else types
        return cls(
            np.array([row for history in rows for row in history], np.int32),
            np.array([code for history in codes for code in history], np.int8),
            np.array([time for history in steps for time in history], np.int64),
            np.cumsum([0, *(len(history) for history in rows)], dtype=np.int64),
            np.array(last, np.int64),
        )

    def lengths(self) -> Int64s:
        """Interactions of each user, (B,)."""
        return np.diff(self.starts)

    def known(self) -> Int64s:
        """Interactions of each user with an item that has a row, (B,)."""
        sums = np.concatenate(([0], np.cumsum(self.rows >= 0, dtype=np.int64)))
        return np.asarray(sums[self.starts[1:]] - sums[self.starts[:-1]], np.int64)

    def take(self, users: Int64s) -> HistoryBatch:
        """The histories of some of the users, in the order asked for."""
        lengths = self.lengths()[users]
        starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        at = np.arange(starts[-1]) + np.repeat(self.starts[:-1][users] - starts[:-1], lengths)
        return HistoryBatch(self.rows[at], self.types[at], self.times[at], starts, self.now[users])


@dataclass(frozen=True)
class Interactions:
    """What sources are built from: positive interactions in log order, T of them.

    `users` (T,), `items` (T,) item rows (all known), `times` (T,) epoch milliseconds, `types` (T,) codes, `sessions`
    (T,) numbers that are equal exactly within one session. Removals and dislikes do not belong here: they say nothing
    of what goes together.
    """

    users: Int32s
    items: Int32s
    times: Int64s
    types: Int8s
    sessions: Int32s

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of(
        cls,
        users: npt.ArrayLike,
        items: npt.ArrayLike,
        times: npt.ArrayLike,
        *,
        types: npt.ArrayLike | None = None,
        sessions: npt.ArrayLike | None = None,
        gap_ms: int = 1_800_000,
    ) -> Interactions:
        """Interactions from columns. Types default to 0; sessions to a user's stretches without a pause of `gap_ms`."""
        user_column = np.asarray(users, np.int32)
        time_column = np.asarray(times, np.int64)
        return cls(
            user_column,
            np.asarray(items, np.int32),
            time_column,
            np.zeros(len(user_column), np.int8) if types is None else np.asarray(types, np.int8),
            split_sessions(user_column, time_column, gap_ms) if sessions is None else np.asarray(sessions, np.int32),
        )


def split_sessions(users: Int32s, times: Int64s, gap_ms: int) -> Int32s:
    """Session numbers (T,) of interactions in log order: a user's next one begins after a pause of more than `gap_ms`.

    >>> split_sessions(np.array([1, 2, 1, 1], np.int32), np.array([0, 5, 10, 500]), 100).tolist()
    [0, 2, 0, 1]
    """
    order = np.argsort(users, kind="stable")
    begins = np.ones(len(users), np.bool_)
    begins[1:] = (np.diff(users[order]) != 0) | (np.diff(times[order]) > gap_ms)
    sessions = np.empty(len(users), np.int32)
    sessions[order] = np.cumsum(begins, dtype=np.int32) - 1
    return sessions


@dataclass(frozen=True)
class SessionLists:
    """Sessions in CSR form, newest first (by their last interaction).

    `starts` (S + 1,), `items` (P,) in time order within a session, `ends` (S,) epoch milliseconds of the last one.
    """

    starts: Int64s
    items: Int32s
    ends: Int64s

    def __len__(self) -> int:
        return len(self.ends)

    def numbers(self) -> Int32s:
        """The session of each entry of `items`, (P,)."""
        return np.repeat(np.arange(len(self), dtype=np.int32), np.diff(self.starts))

    def positions(self) -> Int64s:
        """The position within its session of each entry of `items`, (P,)."""
        return np.arange(len(self.items)) - np.repeat(self.starts[:-1], np.diff(self.starts))


def session_lists(interactions: Interactions, longest: int = LONGEST_SESSION) -> SessionLists:
    """Groups interactions by session; of a longer session the newest `longest` entries stay."""
    if len(interactions) == 0:
        return SessionLists(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64))
    _, dense = np.unique(interactions.sessions, return_inverse=True)
    last = np.zeros(dense.max() + 1, np.int64)
    last[dense] = np.arange(len(dense))  # the highest index wins: the last interaction in log order
    newest_first = np.empty(len(last), np.int64)
    newest_first[np.argsort(-last, kind="stable")] = np.arange(len(last))
    numbers = newest_first[dense]
    order = np.argsort(numbers, kind="stable")
    numbers, items = numbers[order], interactions.items[order]
    ends = np.cumsum(np.bincount(numbers, minlength=len(last)))
    kept = ends[numbers] - np.arange(len(numbers)) <= longest
    lengths = np.bincount(numbers[kept], minlength=len(last))
    starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    return SessionLists(starts, items[kept], interactions.times[np.sort(last)[::-1]])
