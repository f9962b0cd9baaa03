"""A log as columns, in the order in which it is played, wherever it was read from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stream.wire.messages import Item
from stream.wire.times import to_milliseconds

Ints = npt.NDArray[np.int64]

NO_SESSION = -1


class LogError(ValueError):
    """A log cannot be read. Operator action: correct the options or the log, as the message says."""


class ItemNews(NamedTuple):
    """What was heard of an item before the event at `position`; None retires it."""

    position: int
    item_id: str
    item: Item | None


@dataclass(frozen=True)
class EventLog:
    """T events: numbers `users`, `items` into `user_ids`, `item_ids`; `types` codes, `times` (ms), `periods` (T,).

    `sessions` are numbers of sessions, NO_SESSION where an event tells none, None where no event does. `news` of items
    is sorted by position. `left_out` counts what was read but is no event, by reason.
    """

    user_ids: list[str]
    item_ids: list[str]
    users: Ints
    items: Ints
    types: Ints
    times: Ints
    periods: Ints
    sessions: Ints | None
    news: Sequence[ItemNews] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items)

    def until_period(self, last: int) -> EventLog:
        """Without the events of later periods, and without what was heard of items by then."""
        kept = self.take(np.flatnonzero(self.periods <= last))
        return replace(kept, news=[news for news in self.news if news.position <= len(kept)])

    def take(self, order: Ints) -> EventLog:
        """The events at these positions, in this order; everything of items is known from the start."""
        return replace(
            self,
            users=self.users[order],
            items=self.items[order],
            types=self.types[order],
            times=self.times[order],
            periods=self.periods[order],
            sessions=None if self.sessions is None else self.sessions[order],
            news=[news._replace(position=0) for news in self.news],
        )

    def first_seen(self) -> Ints:
        """The position of each item's first event, the log's length where it has none."""
        first = np.full(len(self.item_ids), len(self), np.int64)
        np.minimum.at(first, self.items, np.arange(len(self)))
        return first

    def last_of_users(self) -> Ints:
        """The position of each user's last event, -1 where there is none."""
        last = np.full(len(self.user_ids), -1, np.int64)
        last[self.users] = np.arange(len(self))
        return last


def with_items(log: EventLog, items: Iterable[Item]) -> EventLog:
    """The log with more items: each is heard of when it was published, or from the start where that is not said."""
    told = [*log.news, *(ItemNews(_published(log, item), item.item_id, item) for item in items)]
    return replace(log, news=sorted(told, key=lambda news: news.position))


def _published(log: EventLog, item: Item) -> int:
    moment = None if item.published_at is None else to_milliseconds(item.published_at)
    return 0 if moment is None else int(np.searchsorted(np.maximum.accumulate(log.times), moment))
