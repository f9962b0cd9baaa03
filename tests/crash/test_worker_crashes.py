"""Workers killed at any moment: nothing is lost, nothing counts twice."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.shop.broker import Broker
from tests.crash.notes import BAD
from tests.crash.oracle import Oracle
from tests.worker_kit import Shop, Worker, wait_until

pytestmark = pytest.mark.kafka


@pytest.fixture
def shop(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(kafka_broker, topic_prefix, tmp_path).create_topics()
    yield shop
    shop.close()


def held(worker: Worker) -> int:
    """How many partitions a worker has, once it is ready."""
    answer = worker.ready
    return len(answer["partitions"]) if answer["ready"] else 0


def send_mixed(shop: Shop, count: int, dice: random.Random) -> None:
    """Events of 60 users, one in ten bad, one in ten sent twice as a producer's retry would."""
    for number in range(count):
        if dice.random() < 0.1:
            shop.send("events", dice.choice(["u1", "u2", "nobody"]), dice.choice([*BAD]))
            continue
        user, kind = f"u{dice.randrange(60)}", dice.choice(["click", "view", "addtocart", "transaction", "remove"])
        for _ in range(2 if dice.random() < 0.1 else 1):
            shop.click(user, f"i{dice.randrange(30)}", kind, event_id=f"e{number}-{dice.random()}"[:18])
    shop.flush()


def assert_exact(shop: Shop) -> None:
    """The log, the changelog, the lists and the dead letters agree, and so does `alluvium state`."""
    oracle = Oracle(shop.servers, shop.topic)
    try:
        assert not oracle.settle().problems
    finally:
        oracle.close()
    done = shop.alluvium("state")
    assert done.returncode == 0, done.stderr
    printed = {(row["user_id"], row["partition"]): row for row in map(json.loads, done.stdout.splitlines())}
    assert printed.keys() == oracle.users.keys()
    for user, expected in oracle.users.items():
        row = printed[user]
        assert (row["events_applied"], row["offset"]) == (expected.applied, expected.offset), user
        assert [it["item_id"] for it in row["history"]] == [item for item, _kind, _time in expected.history], user


def test_kill_and_restart_under_load_loses_nothing_and_counts_nothing_twice(shop: Shop) -> None:
    """A worker killed three times at random moments, amid events with bad ones among them, ends with the state of an
    undisturbed fold, a list for every event and exactly one dead letter for every bad record.
    """
    dice = random.Random(20261123)
    worker = shop.start_worker().wait_until_ready()
    for _ in range(3):
        send_mixed(shop, 1_500, dice)
        time.sleep(dice.random() * 0.7)
        worker.kill()
        worker = shop.start_worker()
    worker.wait_until_ready()
    assert_exact(shop)
    assert worker.stop() == 0


def test_one_of_two_workers_dies_and_another_joins(shop: Shop) -> None:
    """A killed worker's partitions go to the one that lives, some go on to a newcomer: the state stays exact."""
    dice = random.Random(7)
    first, second = shop.start_worker(), shop.start_worker()
    first.wait_until_ready()
    second.wait_until_ready()
    wait_until(lambda: held(first) == held(second) == 2, "partitions to be shared")
    send_mixed(shop, 1_000, dice)
    second.kill()
    send_mixed(shop, 1_000, dice)
    wait_until(lambda: held(first) == 4, "the dead worker's partitions")
    third = shop.start_worker()
    send_mixed(shop, 1_000, dice)
    third.wait_until_ready()
    assert_exact(shop)
    assert first.stop() == third.stop() == 0
