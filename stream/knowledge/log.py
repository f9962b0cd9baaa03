"""A window as arrays with item rows: what is cut into histories to learn from, and into queries to judge by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt

from indexing.histories import HistoryBatch, Interactions
from indexing.owned import bought_before
from models.sequences import Histories
from stream.knowledge.window import Window

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MOST_QUERIES_OF_ONE_USER = 50  # one busy client does not decide what is good for everybody


@dataclass(frozen=True)
class Log:
    """T events in log order: `users`, item `rows`, `types` codes, `times` (ms), `sessions`, type `weights` (T,).

    `new` is the position of the first event that the parent has not seen.
    """

    users: npt.NDArray[np.int32]
    rows: npt.NDArray[np.int32]
    types: npt.NDArray[np.int8]
    times: npt.NDArray[np.int64]
    sessions: npt.NDArray[np.int32]
    weights: npt.NDArray[np.float32]
    new: int

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(
        cls,
        window: Window,
        rows: npt.NDArray[np.int32],
        weights: Sequence[float],
        new_events: int,
        most_of_one_user: int,
    ) -> Log:
        """The window's events; `rows` gives the row of each of the window's item numbers.

        Of one user only the newest `most_of_one_user` events are taken: a machine that clicks a million times teaches
        no more than any person could.
        """
        users = np.array(window.column("users"))
        kept = newest_of_each(users, most_of_one_user)
        types = np.array(window.column("types"))[kept]
        return cls(
            users[kept],
            rows[window.column("items")][kept],
            types,
            np.array(window.column("times"))[kept],
            np.array(window.column("sessions"))[kept],
            np.asarray(weights, np.float32)[types],
            int(np.count_nonzero(kept[: max(len(users) - new_events, 0)])),
        )

    def until(self, end: int, new: int) -> Log:
        """The first `end` events; of these, those from `new` on count as new."""
        part = slice(end)
        return Log(
            self.users[part],
            self.rows[part],
            self.types[part],
            self.times[part],
            self.sessions[part],
            self.weights[part],
            new,
        )

    def without(self, items: Bools) -> Log:
        """The events of all but some items, (N,) by row."""
        kept = ~items[self.rows]
        columns = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "new"}
        new = int(np.count_nonzero(kept[: self.new]))
        return Log(**{name: column[kept] for name, column in columns.items()}, new=new)

    @property
    def positive(self) -> Bools:
        """Which events say that a user wanted an item."""
        return np.asarray(self.weights > 0)

    @cached_property
    def by_user(self) -> Ints:
        """Log positions ordered by user, oldest first within a user."""
        return np.argsort(self.users, kind="stable").astype(np.int64)

    @cached_property
    def _by_user(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int8]]:
        """Rows and types in the order of `by_user`."""
        return self.rows[self.by_user], self.types[self.by_user]

    @cached_property
    def places(self) -> Ints:
        """Where each log position stands in `by_user`."""
        places = np.empty(len(self), np.int64)
        places[self.by_user] = np.arange(len(self))
        return places

    @cached_property
    def starts(self) -> Ints:
        """Where each user begins in `by_user`, and the end (U + 1,)."""
        begins = np.flatnonzero(np.diff(self.users[self.by_user])) + 1
        return np.concatenate(([0], begins, [len(self)])).astype(np.int64) if len(self) else np.zeros(1, np.int64)

    @cached_property
    def earlier(self) -> Ints:
        """How many events of the same user come before each event (T,)."""
        lengths = np.diff(self.starts)
        earlier = np.empty(len(self), np.int64)
        earlier[self.by_user] = np.arange(len(self)) - np.repeat(self.starts[:-1], lengths)
        return earlier

    @property
    def askable(self) -> Bools:
        """Events that can be queries: wanted items of users with a history."""
        return np.asarray(self.positive & (self.earlier > 0))

    def interactions(self) -> Interactions:
        """What the memories are built from."""
        wanted = self.positive
        return Interactions(
            self.users[wanted], self.rows[wanted], self.times[wanted], self.types[wanted], self.sessions[wanted]
        )

    def histories(self, targets: npt.NDArray[np.float32]) -> Histories:
        """All events by user, with what each weighs as a target, given in log order (T,)."""
        order = self.by_user
        return Histories(
            self.rows[order].astype(np.int64),
            self.types[order].astype(np.int64),
            self.times[order],
            self.starts,
            targets[order],
        )

    def queries(self, positions: Ints, length: int, intents: npt.NDArray[np.int8], purchase: int) -> HistoryBatch:
        """What each user's newest `length` events were just before the events at these log positions.

        `intents` (B,): the event types that are asked for; `purchase`: the code of that type, -1 for none.
        """
        lengths = np.minimum(self.earlier[positions], length)
        starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        begins = self.places[positions] - lengths
        at = self.by_user[np.repeat(begins - starts[:-1], lengths) + np.arange(starts[-1])]
        last = self.by_user[self.places[positions] - 1]
        ends = self.places[positions]
        rows, types = self._by_user
        owned = bought_before(rows, types == purchase, ends - self.earlier[positions], ends)
        return HistoryBatch(self.rows[at], self.types[at], self.times[at], starts, self.times[last], intents, *owned)


def held_out_from(log: Log, share: float, most: int) -> int:
    """Where the held-out end of the new events begins: their newest `share`, with at most `most` queries in it.

    Of each user only the newest MOST_QUERIES_OF_ONE_USER count for either: the end reaches back behind a machine that
    has just clicked a thousand times, so that others judge, too. The length of the log (nothing held out) when there is
    no query in it.
    """
    new = np.arange(log.new, len(log))
    counted = new[newest_of_each(log.users[log.new :], MOST_QUERIES_OF_ONE_USER)]
    wanted = int(share * len(counted))
    begin = min(len(log) - int(share * len(new)), int(counted[-wanted]) if wanted else len(log))
    asked = np.flatnonzero(log.askable[begin:]) + begin
    if len(asked) == 0:
        return len(log)
    asked = asked[newest_of_each(log.users[asked], MOST_QUERIES_OF_ONE_USER)]
    return int(asked[-most]) if len(asked) > most else begin


def sample_replay(log: Log, events: float, half_life: float, seed: int) -> Bools:
    """Which of the events before `log.new` to learn again (new,): whole sessions, recent ones rather than old ones.

    Sessions are drawn without replacement, with weights that halve every `half_life` of the log's length, until about
    `events` events are chosen (Efraimidis and Spirakis, Information Processing Letters 2006).
    """
    if log.new == 0 or events <= 0:
        return np.zeros(log.new, np.bool_)
    sessions, last, inverse, sizes = _last_positions(log.sessions[: log.new])
    age = (log.new - last) / max(len(log), 1)
    rng = np.random.default_rng([seed, 6])
    keys = np.log(rng.random(len(sessions))) * np.exp2(age / max(half_life, 1e-9))
    order = np.argsort(-keys, kind="stable")
    taken = np.zeros(len(sessions), np.bool_)
    taken[order[: int(np.searchsorted(np.cumsum(sizes[order]), events)) + 1]] = True
    return np.asarray(taken[inverse], np.bool_)


def rows_of(rows: npt.NDArray[np.int32], wanted: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """`rows` at the wanted positions; -1 stays -1."""
    return np.where(wanted >= 0, rows[wanted], -1).astype(np.int32)


def _last_positions(sessions: npt.NDArray[np.int32]) -> tuple[Ints, Ints, Ints, Ints]:
    """Distinct sessions, the last position of each, which one each event belongs to, and their sizes."""
    names, inverse, sizes = np.unique(sessions, return_inverse=True, return_counts=True)
    last = np.zeros(len(names), np.int64)
    last[inverse] = np.arange(len(sessions))
    return names.astype(np.int64), last, inverse.astype(np.int64), sizes.astype(np.int64)


def newest_of_each(users: npt.NDArray[np.int32], most: int) -> Bools:
    """Which events are among their user's newest `most`."""
    counts = np.bincount(users) if len(users) else np.zeros(0, np.int64)
    if counts.max(initial=0) <= most:
        return np.ones(len(users), np.bool_)
    order = np.argsort(users, kind="stable")
    ends = np.cumsum(counts)[users[order]]
    kept = np.empty(len(users), np.bool_)
    kept[order] = ends - np.arange(len(users)) <= most
    return kept
