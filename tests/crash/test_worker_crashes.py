"""Workers killed at any moment: nothing is lost, nothing counts twice."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Message

from stream.shop.broker import Broker
from tests.worker_kit import Shop, Worker, dead_sources, wait_until

pytestmark = pytest.mark.kafka

BAD = [
    b"{not json",
    b"\x00\xff\xfe binary noise",
    b'{"user_id": "u1", "item_id": "i1"}',
    b'{"user_id": 7, "item_id": "i1", "event_type": "click"}',
    b'{"user_id": "u1", "item_id": "i1", "event_type": "teleport"}',
    b'{"user_id": "u1", "item_id": "i1", "event_type": "click", "timestamp": "1702-01-01T00:00:00Z"}',
    b'{"user_id": "u1", "item_id": "%s", "event_type": "click"}' % (b"x" * 100_000),
    None,
]
ALIASES = {"view": "click", "addtocart": "cart", "transaction": "purchase"}


@pytest.fixture
def shop(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(kafka_broker, topic_prefix, tmp_path).create_topics()
    yield shop
    shop.close()


def fold_of(log: list[Message]) -> tuple[dict[tuple[str, int], dict[str, Any]], set[str]]:
    """User state and bad records, read off the log by code that shares nothing with the worker's."""
    users: dict[tuple[str, int], dict[str, Any]] = {}
    bad: set[str] = set()
    for record in log:
        value = record.value()
        if value is None or value in BAD:
            bad.add(f"{record.topic()}-{record.partition()}-{record.offset()}")
            continue
        event = json.loads(value)
        state = users.setdefault(
            (event["user_id"], record.partition()), {"ids": [], "history": [], "events_applied": 0, "offset": -1}
        )
        identity = event.get("event_id")
        if identity is not None and identity in state["ids"][-64:]:
            continue
        if identity is not None:
            state["ids"].append(identity)
        kind = ALIASES.get(event["event_type"], event["event_type"])
        state["history"] = [*state["history"], (event["item_id"], kind)][-50:]
        state["events_applied"] += 1
        state["offset"] = record.offset()
    return users, bad


def states_of(shop: Shop) -> dict[tuple[str, int], dict[str, Any]]:
    """What `alluvium state` prints."""
    done = shop.alluvium("state")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {(row["user_id"], row["partition"]): row for row in rows}


def held(worker: Worker) -> int:
    """How many partitions a worker has, once it is ready."""
    answer = worker.ready
    return len(answer["partitions"]) if answer["ready"] else 0


def send_mixed(shop: Shop, count: int, dice: random.Random) -> None:
    """Events of 60 users, one in ten bad, one in ten sent twice as a producer's retry would."""
    for number in range(count):
        if dice.random() < 0.1:
            shop.send("events", dice.choice(["u1", "u2", "nobody"]), dice.choice(BAD))
            continue
        user, kind = f"u{dice.randrange(60)}", dice.choice(["click", "view", "addtocart", "transaction", "remove"])
        for _ in range(2 if dice.random() < 0.1 else 1):
            shop.click(user, f"i{dice.randrange(30)}", kind, event_id=f"e{number}-{dice.random()}"[:18])
    shop.flush()


def assert_exact(shop: Shop) -> None:
    """The log, the changelog, the lists and the dead letters agree."""
    log = shop.read("events")
    users, bad = fold_of(log)
    good = [record for record in log if f"{record.topic()}-{record.partition()}-{record.offset()}" not in bad]
    shop.wait_until_answered(
        (json.loads(record.value())["user_id"], record.partition(), record.offset()) for record in good
    )
    wait_until(lambda: len(dead_sources(shop.read("dead-letters"))) >= len(bad), "a letter for every bad record")

    states = states_of(shop)
    assert states.keys() == users.keys()
    for user, expected in users.items():
        row = states[user]
        assert [(it["item_id"], it["event_type"]) for it in row["history"]] == expected["history"], user
        assert (row["events_applied"], row["offset"]) == (expected["events_applied"], expected["offset"]), user
    assert dead_sources(shop.read("dead-letters")) == dict.fromkeys(bad, 1)
    assert_ids_name_their_items(shop)


def assert_ids_name_their_items(shop: Shop) -> None:
    items: dict[str, list[str]] = {}
    for message in shop.lists():
        listed = [item["item_id"] for item in message["items"]]
        assert items.setdefault(message["recommendation_id"], listed) == listed


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
