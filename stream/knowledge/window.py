"""The interactions that a refresh learns from: columns in log order, the newest N."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

SESSION_GAP_MS = 1_800_000  # a pause longer than this ends a session that has no id
_FIRST_ROOM = 1_024

_COLUMNS: dict[str, Any] = {
    "users": np.int32,
    "items": np.int32,
    "types": np.int8,
    "times": np.int64,
    "sessions": np.int32,
    "partitions": np.int32,
    "offsets": np.int64,
}


class PartitionBounds(NamedTuple):
    """What a window holds of one partition: offsets from `first_offset` to before `next_offset`, and times (ms)."""

    first_offset: int
    next_offset: int
    first_time: int
    last_time: int
    events: int


class Window:
    """Appendable columns. Users and items are numbered in order of their first appearance.

    Memory: 33 bytes an event, and a few hundred bytes for each user, item and session. Sessions: by `session_id` within
    a user when given, else a new one after a pause of more than half an hour of event time.
    """

    def __init__(self, event_types: Sequence[str]) -> None:
        self.event_types = tuple(event_types)
        self._codes = {name: code for code, name in enumerate(self.event_types)}
        self._begin = self._end = 0
        self._data = {name: np.empty(_FIRST_ROOM, kind) for name, kind in _COLUMNS.items()}
        self._users: dict[str, int] = {}
        self._items: dict[str, int] = {}
        self._item_ids: list[str] = []
        self._sessions: dict[tuple[int, str], int] = {}
        self._last: dict[int, tuple[int, int]] = {}  # user -> time of the last event without a session id, its session
        self._next_session = 0

    def __len__(self) -> int:
        return self._end - self._begin

    @property
    def item_ids(self) -> Sequence[str]:
        """Item ids by the numbers in `items`. After a trim some of them may have no event left."""
        return self._item_ids

    @property
    def user_count(self) -> int:
        """How many users have been numbered."""
        return len(self._users)

    def append(  # noqa: PLR0917  # called for every event: positions are cheaper than names
        self,
        user_id: str,
        item_id: str,
        event_type: str,
        timestamp_ms: int,
        session_id: str | None = None,
        partition: int = 0,
        offset: int = 0,
    ) -> None:
        """Adds one event at the end. Raises KeyError for an event type that is not in the table."""
        code = self._codes[event_type]
        if self._end == len(self._data["users"]):
            self._grow()
        user = self._users.setdefault(user_id, len(self._users))
        item = self._items.setdefault(item_id, len(self._items))
        if item == len(self._item_ids):
            self._item_ids.append(item_id)
        at, data = self._end, self._data
        data["users"][at] = user
        data["items"][at] = item
        data["types"][at] = code
        data["times"][at] = timestamp_ms
        data["sessions"][at] = self._session(user, timestamp_ms, session_id)
        data["partitions"][at] = partition
        data["offsets"][at] = offset
        self._end += 1

    def column(self, name: str) -> npt.NDArray[Any]:
        """A column of the events in the window, oldest first: a view, valid until the next append or trim.

        `users`, `items`, `sessions` are numbers, `types` codes of `event_types`, `times` ms; the rest is
        `partitions` and `offsets`.
        """
        return self._data[name][self._begin : self._end]

    def bounds(self) -> dict[int, PartitionBounds]:
        """What the window holds of each partition."""
        partitions, offsets, times = (self.column(name) for name in ("partitions", "offsets", "times"))
        found = {}
        for partition in np.unique(partitions).tolist():
            of_it = partitions == partition
            here, then = offsets[of_it], times[of_it]
            found[partition] = PartitionBounds(
                int(here.min()), int(here.max()) + 1, int(then.min()), int(then.max()), len(here)
            )
        return found

    def trim(self, newest: int) -> None:
        """Forgets all but the newest events; the room and the names of what is gone are given back now and then."""
        self._begin = max(self._begin, self._end - max(newest, 0))
        if self._begin > len(self):
            self._compact()

    def _session(self, user: int, time: int, session_id: str | None) -> int:
        if session_id is not None:
            number = self._sessions.setdefault((user, session_id), self._next_session)
            self._next_session = max(self._next_session, number + 1)
            return number
        last_time, number = self._last.get(user, (0, -1))
        if number < 0 or abs(time - last_time) > SESSION_GAP_MS:
            number, self._next_session = self._next_session, self._next_session + 1
        self._last[user] = (time, number)
        return number

    def _grow(self) -> None:
        for name, old in self._data.items():
            new = np.empty(2 * len(old), old.dtype)
            new[: self._end] = old[: self._end]
            self._data[name] = new

    def _compact(self) -> None:
        """Moves the events to the front and numbers users, items and sessions anew, in order of first appearance."""
        size = len(self)
        room = max(_FIRST_ROOM, size + size // 2)
        for name in _COLUMNS:
            fresh = np.empty(room, self._data[name].dtype)
            fresh[:size] = self.column(name)
            self._data[name] = fresh
        self._begin, self._end = 0, size
        users = _renumber(self._data["users"][:size])
        items = _renumber(self._data["items"][:size])
        sessions = _renumber(self._data["sessions"][:size])
        self._next_session = len(sessions)
        self._users = {user_id: users[old] for user_id, old in self._users.items() if old in users}
        self._items = dict(
            sorted(((item_id, items[old]) for item_id, old in self._items.items() if old in items), key=lambda x: x[1])
        )
        self._item_ids = list(self._items)
        self._sessions = {
            (users[user], name): sessions[old]
            for (user, name), old in self._sessions.items()
            if old in sessions and user in users
        }
        self._last = {
            users[user]: (time, sessions[old])
            for user, (time, old) in self._last.items()
            if user in users and old in sessions
        }


def _renumber(column: npt.NDArray[np.int32]) -> dict[int, int]:
    """Rewrites the column in place with 0.. in order of first appearance; returns old -> new."""
    old, first, inverse = np.unique(column, return_index=True, return_inverse=True)
    new = np.empty(len(old), np.int32)
    new[np.argsort(first, kind="stable")] = np.arange(len(old), dtype=np.int32)
    column[:] = new[inverse]
    return dict(zip(old.tolist(), new.tolist(), strict=True))
