"""What happens to a worker when Kafka does not do as usual: it dies and comes back, or its log has holes."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from stream.shop.broker import Broker
from tests.crash.test_worker_crashes import assert_exact, send_mixed
from tests.worker_kit import Shop, wait_until

pytestmark = pytest.mark.kafka


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that may be killed."""
    with Broker(tmp_path / "kafka") as broker:
        yield broker


@pytest.fixture
def shop(broker: Broker, topic_prefix: str, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(broker, topic_prefix, tmp_path).create_topics()
    yield shop
    shop.close()


def test_the_broker_is_killed_and_comes_back(shop: Shop, broker: Broker) -> None:
    """The same worker process goes on where it stood: state, lists and dead letters are exact."""
    dice = random.Random(3)
    worker = shop.start_worker().wait_until_ready()
    send_mixed(shop, 800, dice)
    broker.kill()
    time.sleep(2)
    broker.start()
    send_mixed(shop, 400, dice)
    assert_exact(shop)
    assert worker.process.poll() is None
    assert worker.stop() == 0


def test_holes_in_the_log_stop_nobody(shop: Shop) -> None:
    """Transactions leave offsets without records, aborted ones records that nobody should count on: the worker passes
    over the former, and commits behind them, so that a restart sends no list again.
    """
    worker = shop.start_worker().wait_until_ready()
    transactions = Producer({"bootstrap.servers": shop.servers, "transactional.id": shop.prefix})
    transactions.init_transactions(30)
    for number in range(4):
        transactions.begin_transaction()
        transactions.produce(
            shop.topic("events"), key="ann", partition=0,
            value=f'{{"user_id": "ann", "item_id": "i{number}", "event_type": "click"}}',
        )  # fmt: skip
        transactions.commit_transaction(30)
    wait_until(lambda: worker.metric("events_total", outcome="applied") == 4, "events between the holes")
    assert worker.metric("misplaced_events_total") in {0, 4}
    assert worker.stop() == 0
    lists = len(shop.lists())
    again = shop.start_worker().wait_until_ready()
    time.sleep(1.5)
    assert len(shop.lists()) == lists
    assert again.metric("users") == 1


def test_rows_of_somebody_else_stop_nobody(shop: Shop) -> None:
    """Bytes that are none in the changelog: who has a good row before them keeps it, and it is written once more; who
    has none begins anew with the next event, which is counted. Nobody else is touched, and `alluvium state` goes on.
    """
    worker = shop.start_worker().wait_until_ready()
    for user in ("ann", "bob"):
        shop.send("events", user, {"user_id": user, "item_id": "i1", "event_type": "click"}, partition=0)
    shop.flush()
    wait_until(lambda: worker.metric("events_total", outcome="applied") == 2, "both events")
    assert worker.stop() == 0
    for user in ("ann", "eve"):
        shop.producer.produce(shop.topic("state"), key=user, value=b"\xff\xfeno row", partition=0)
    shop.flush()
    again = shop.start_worker().wait_until_ready()
    for user in ("ann", "bob", "eve"):
        shop.send("events", user, {"user_id": user, "item_id": "i2", "event_type": "click"}, partition=0)
    shop.flush()
    wait_until(lambda: again.metric("events_total", outcome="applied") == 3, "all three events")
    states = {state["user_id"]: state for state in map(json.loads, shop.alluvium("state").stdout.splitlines())}
    assert {user: state["events_applied"] for user, state in states.items()} == {"ann": 2, "bob": 2, "eve": 1}
    assert again.metric("damaged_states_total") == 1
    assert again.stop() == 0
