"""Flat arrays: histories of many users to make lists for, and interactions of many users to build sources from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from indexing.grouping import grouped

Int8s = npt.NDArray[np.int8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

LONGEST_SESSION = 200  # events; positions within a session fit in a byte


@dataclass(frozen=True)
class HistoryBatch:
    """Histories of B users, T interactions together, oldest first within a user.

    `rows` (T,) item rows, -1 where the item has none; `types` (T,) codes of event types; `times` (T,) epoch
    milliseconds; `starts` (B + 1,) where each user begins; `now` (B,) epoch milliseconds of the event that asks;
    `intents` (B,) the code of the event type that is asked for. `owned` (W,) rows of the different items that each user
    has bought, in or before the history, the latest last; `owned_starts` (B + 1,).
    """

    rows: Int32s
    types: Int8s
    times: Int64s
    starts: Int64s
    now: Int64s
    intents: Int8s
    owned: Int32s
    owned_starts: Int64s

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def of(
        cls,
        rows: Sequence[Sequence[int]],
        types: Sequence[Sequence[int]] | None = None,
        times: Sequence[Sequence[int]] | None = None,
        now: Sequence[int] | None = None,
        *,
        intents: Sequence[int] | None = None,
        owned: Sequence[Sequence[int]] | None = None,
    ) -> HistoryBatch:
        """A batch from nested lists. Types and intents default to 0, times to a second a step, `now` to the last time.

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
            np.zeros(len(rows), np.int8) if intents is None else np.array(intents, np.int8),
            np.array([row for bought in owned or () for row in bought], np.int32),
            np.cumsum([0, *map(len, owned or [()] * len(rows))], dtype=np.int64),
        )

    def lengths(self) -> Int64s:
        """Interactions of each user, (B,)."""
        return np.diff(self.starts)

    def all_known(self) -> bool:
        """Whether every interaction is with an item that has a row, and every user has one."""
        nothing_unknown = np.count_nonzero(self.rows < 0) == 0
        return bool(nothing_unknown and np.count_nonzero(self.starts[1:] == self.starts[:-1]) == 0)

    def known(self) -> Int64s:
        """Interactions of each user with an item that has a row, (B,)."""
        sums = np.concatenate(([0], np.cumsum(self.rows >= 0, dtype=np.int64)))
        return np.asarray(sums[self.starts[1:]] - sums[self.starts[:-1]], np.int64)

    def take(self, users: Int64s) -> HistoryBatch:
        """The histories of some of the users, in the order asked for."""
        at, starts = _parts(self.starts, users)
        owned, owned_starts = _parts(self.owned_starts, users)
        history = (self.rows[at], self.types[at], self.times[at], starts, self.now[users], self.intents[users])
        return HistoryBatch(*history, self.owned[owned], owned_starts)

    def renumbered(self, rows: Int32s) -> HistoryBatch:
        """The same over other rows: `rows` (N,) gives the new row of each, -1 where it has none."""
        items, owned = (np.where(part >= 0, rows[part], -1).astype(np.int32) for part in (self.rows, self.owned))
        return replace(self, rows=items, owned=owned)


def _parts(starts: Int64s, chosen: Int64s) -> tuple[Int64s, Int64s]:
    """Positions of the chosen ones of lists that begin at `starts`, and where each begins among them."""
    lengths = np.diff(starts)[chosen]
    begins = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    return np.arange(begins[-1]) + np.repeat(starts[:-1][chosen] - begins[:-1], lengths), begins


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

    @cached_property
    def by_session(self) -> SessionLists:
        """Grouped by session, once for all sources that are built from them."""
        return session_lists(self)

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

    def renumbered(self, rows: Int32s) -> Interactions:
        """With row `rows[i]` for each item row i, without the interactions whose row is then below 0."""
        items = rows[self.items]
        kept = items >= 0
        return Interactions(self.users[kept], items[kept], self.times[kept], self.types[kept], self.sessions[kept])


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
    dense = dense_numbers(interactions.sessions)
    last = np.zeros(dense.max() + 1, np.int64)
    last[dense] = np.arange(len(dense))  # the highest index wins: the last interaction in log order
    is_last = np.zeros(len(dense), np.bool_)
    is_last[last[dense]] = True
    numbers = (np.cumsum(is_last[::-1])[::-1] - 1)[last[dense]]  # newest first
    sessions = np.count_nonzero(is_last)
    order = grouped(numbers, sessions)
    numbers, items = numbers[order], interactions.items[order]
    ends = np.cumsum(np.bincount(numbers, minlength=sessions))
    kept = ends[numbers] - np.arange(len(numbers)) <= longest
    lengths = np.bincount(numbers[kept], minlength=sessions)
    starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    return SessionLists(starts, items[kept], interactions.times[np.flatnonzero(is_last)[::-1]])


def dense_numbers(numbers: Int32s) -> npt.NDArray[np.integer]:
    """The same numbers, or others that are equal exactly where they are, none much larger than there are many."""
    if numbers.min() >= 0 and numbers.max() < 4 * len(numbers) + 1_000:
        return numbers
    return np.unique(numbers, return_inverse=True)[1]
