"""The log that all contenders read: real events of a shop, spread so that no user comes twice within a moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from stream.evaluation.event_log import NO_SESSION, EventLog, ItemNews
from stream.shop.delivery import OutgoingEvent
from stream.shop.shoppers import Crowd
from stream.shop.world import World
from stream.wire.event_types import EventTypes
from stream.wire.messages import Item
from stream.wire.partitioner import murmur2_partition

Ints = npt.NDArray[np.int64]

MOST_OF_ONE_USER = 5  # events: two of a user are then about a fifth of the log apart, and seldom share a list
BAD_EVERY = 1_000  # events there is a bad one
BAD = (b"{broken", b'{"user_id": "u"}', b'{"user_id": "u", "item_id": "i", "event_type": "sneeze"}')
SHOP_GOODS = 5_000
SHOP_VISITS = 6  # events of a shopper, about
SHOP_BEGINS = 1_767_225_600_000  # 2026-01-01
SHOP_PAUSE_MS = 20


class Sent(NamedTuple):
    """A record of `events` and where it will stand. `user` is None for one that cannot be an event."""

    partition: int
    offset: int
    key: bytes
    value: bytes
    user: str | None


@dataclass(frozen=True)
class BenchLog:
    """What is learned from before, what is asked, and the items of both."""

    learned: EventLog
    asked: EventLog
    items: Sequence[Item]

    def records(self, count: int, partitions: int, names: Sequence[str]) -> list[Sent]:
        """At most `count` events that are asked, spread, and bad ones between them, for topics that are empty.

        `names` are those of the event types.
        """
        order = spread(self.asked.users, count, MOST_OF_ONE_USER)
        return _records(self.asked.take(order), partitions, names)


def split(log: EventLog, asked: int) -> BenchLog:
    """The newest `asked` events, but at most half of all, and those before them."""
    asked = min(asked, len(log) // 2)
    places = np.arange(len(log))
    told = {news.item_id: news.item for news in log.news if news.item is not None}
    items = [told.get(item_id, Item(item_id)) for item_id in log.item_ids]
    return BenchLog(log.take(places[: len(log) - asked]), log.take(places[len(log) - asked :]), items)


def spread(users: Ints, count: int, most: int) -> Ints:
    """Positions (at most `count`) such that the events of each user lie evenly over the whole, in their order.

    Users are taken in the order of their first event, of each the first `most` events. Two events of one user are then
    about `count` / `most` apart or more.

    >>> spread(np.array([7, 7, 8, 8, 9, 9]), 4, 2).tolist()
    [0, 2, 1, 3]
    """
    order = np.argsort(users, kind="stable")
    _, first, sizes = np.unique(users[order], return_index=True, return_counts=True)
    turns = np.arange(len(users)) - np.repeat(first, sizes)  # of each event among its user's
    kept = np.minimum(sizes, most)
    begins = order[first]  # position of each user's first event
    chosen = np.argsort(begins, kind="stable")
    chosen = chosen[: np.searchsorted(np.cumsum(kept[chosen]), count) + 1]
    taken = np.zeros(len(sizes), np.bool_)
    taken[chosen] = True
    phases = np.zeros(len(sizes))
    phases[chosen] = np.arange(len(chosen)) / len(chosen)
    at = np.repeat((taken), sizes) & (turns < np.repeat(kept, sizes))
    moments = ((turns + np.repeat(phases, sizes)) / np.repeat(kept, sizes))[at]
    return np.asarray(order[at][np.argsort(moments, kind="stable")][:count], np.int64)


def shop_log(events: int, types: EventTypes, seed: int) -> EventLog:
    """A simulated shop's log of so many events, whose shoppers take another name whenever their events are enough."""
    world = World(seed, SHOP_GOODS, max(events // SHOP_VISITS, 10))
    crowd = Crowd(world, seed, "bench")
    while crowd.release() is not None:
        pass
    made = [crowd.step(SHOP_BEGINS + SHOP_PAUSE_MS * number, {}) for number in range(events)]
    user_ids, users = np.unique(list(_names(made)), return_inverse=True)
    item_ids, items = np.unique([event.item_id for event in made], return_inverse=True)
    _, sessions = np.unique([event.session_id or "" for event in made], return_inverse=True)
    numbers = world.numbers
    return EventLog(
        user_ids.tolist(),
        item_ids.tolist(),
        users,
        items,
        np.array([types.code(event.event_type) for event in made]),
        np.array([event.timestamp for event in made]),
        np.zeros(events, np.int64),
        sessions,
        [ItemNews(0, item_id, world.goods[numbers[item_id]].item) for item_id in item_ids.tolist()],
    )


def _names(made: Iterable[OutgoingEvent]) -> Iterator[str]:
    counts: Counter[str] = Counter()
    for event in made:
        yield f"{event.user_id}-{counts[event.user_id] // MOST_OF_ONE_USER}"
        counts[event.user_id] += 1


def _records(log: EventLog, partitions: int, names: Sequence[str]) -> list[Sent]:
    encode, bad = msgspec.json.Encoder().encode, cycle(BAD)
    sessions = np.full(len(log), NO_SESSION) if log.sessions is None else log.sessions
    columns = (column.tolist() for column in (log.users, log.items, log.types, log.times, sessions))
    records: list[Sent] = []
    ends = [0] * partitions
    homes: dict[bytes, int] = {}

    def add(user_id: str, value: bytes, user: str | None) -> None:
        key = user_id.encode()
        home = homes.get(key)
        if home is None:
            home = homes[key] = murmur2_partition(key, partitions)
        records.append(Sent(home, ends[home], key, value, user))
        ends[home] += 1

    for number, (user, item, kind, time, session) in enumerate(zip(*columns, strict=True)):
        user_id, told = log.user_ids[user], None if session == NO_SESSION else str(session)
        event = OutgoingEvent(user_id, log.item_ids[item], names[kind], f"bench-{number}", time, told)
        add(user_id, encode(event), user_id)
        if number % BAD_EVERY == BAD_EVERY // 2:
            add(user_id, next(bad), None)
    return records
