"""The log that contenders read: nobody's events are lost, reordered or close together."""

from __future__ import annotations

from collections import defaultdict

import msgspec
import numpy as np

from stream.bench.logs import BAD_EVERY, MOST_OF_ONE_USER, shop_log, split, spread
from stream.settings import Settings
from stream.wire.decoding import Decoder, Rejection
from stream.wire.messages import Event
from stream.wire.partitioner import murmur2_partition

TYPES = Settings().event_types()


def test_events_of_a_user_keep_their_order_and_lie_apart() -> None:
    """Two events of one user are about count / most apart; of each user the first ones are taken."""
    rng = np.random.default_rng(1)
    users = rng.integers(0, 400, 4_000)
    order = spread(users, 1_500, 5)
    assert len(set(order.tolist())) == len(order) == 1_500
    places: dict[int, list[int]] = defaultdict(list)
    for place, position in enumerate(order.tolist()):
        places[users[position]].append(place)
    for user, at in places.items():
        positions = [order[place] for place in at]
        theirs = np.flatnonzero(users == user).tolist()
        assert positions == theirs[: len(positions)]
        assert len(at) <= 5
        assert min(np.diff(at), default=1_500) >= 1_500 / 5 - 10


def test_fewer_events_than_asked_for_are_all_there_is() -> None:
    """A short log gives what it has, each event once."""
    assert sorted(spread(np.array([3, 3, 3, 1]), 100, 2).tolist()) == [0, 1, 3]


def test_records_stand_where_they_say_and_bad_ones_are_bad() -> None:
    """Partition by murmur2, offsets from 0 on without a gap; exactly those without a user are rejected."""
    log = split(shop_log(6_000, TYPES, seed=3), 3_000)
    assert len(log.learned) == len(log.asked) == 3_000
    sent = log.records(2_500, 4, TYPES.names)
    ends = [0] * 4
    decoder = Decoder(Settings().events)
    users: dict[str, int] = defaultdict(int)
    for record in sent:
        assert record.partition == murmur2_partition(record.key, 4)
        assert record.offset == ends[record.partition]
        ends[record.partition] += 1
        event = decoder.event(record.value, 1_795_435_200_000)
        if record.user is None:
            assert isinstance(event, Rejection)
        else:
            assert isinstance(event, Event)
            assert event.user_id == record.user == record.key.decode()
            users[record.user] += 1
    bad = sum(record.user is None for record in sent)
    assert bad == round((len(sent) - bad) / BAD_EVERY)
    assert max(users.values()) <= MOST_OF_ONE_USER


def test_a_shop_s_log_has_its_goods() -> None:
    """Every item of the log stands in the catalogue with a title; the same seed makes the same log."""
    one, other = (split(shop_log(500, TYPES, seed=3), 100) for _ in range(2))
    assert one.learned.items.tolist() == other.learned.items.tolist()
    assert {item.item_id for item in one.items} == set(one.learned.item_ids)
    assert all(msgspec.to_builtins(item)["title"] for item in one.items)
