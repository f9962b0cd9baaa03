"""Real failures raise their alerts in a real Prometheus, and mended they let it be; a healthy shop raises none.

The alerts are the committed ones, loaded twice: as they are, and in a hurry (a minute lasts a second, see
`tests/alert_kit.py`), since nobody waits ten minutes for a test.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from confluent_kafka.admin import AdminClient

from stream.shop.broker import Broker
from stream.wire.partitioner import murmur2_partition
from tests.alert_kit import HURRIED, PATIENCE, RULES, Watched, hurried
from tests.prometheus_tools import promtool
from tests.worker_kit import PARTITIONS, wait_until

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that may be stopped."""
    with Broker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="module")
def shop(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One shop for all tests of this file, each of which leaves it healthy: a worker, a trainer, shoppers."""
    shop = Watched(broker, "alerts.", tmp_path_factory.mktemp("shop"))
    try:
        shop.create_topics()
        shop.start("worker")
        shop.start("trainer")
        shop.shop_on()
        shop.wait_until_ready("worker", "trainer")
        yield shop
    finally:
        shop.close()


def test_the_hurried_rules_are_the_committed_ones(tmp_path: Path) -> None:
    """Every alert is there, every duration is a sixtieth, everything else is the same."""
    committed = {
        rule["alert"]: rule for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"] if "alert" in rule
    }
    text = hurried(RULES.read_text("utf-8"), 1.0)
    (tmp_path / "rules.yml").write_text(text)
    promtool("check", "rules", str(tmp_path / "rules.yml"))
    rules = {rule["alert"].removeprefix(HURRIED): rule for rule in yaml.safe_load(text)["groups"][0]["rules"]}
    assert rules.keys() == committed.keys()
    assert (rules["AlluviumLagGrowing"]["for"], committed["AlluviumLagGrowing"]["for"]) == ("10000ms", "10m")
    assert "deriv(alluvium_consumer_lag_events[10000ms])) > 0" in rules["AlluviumLagGrowing"]["expr"]
    assert "> 30 * 1\n" in rules["AlluviumArtifactStale"]["expr"]
    assert "[60000ms], 4 * 60)" in rules["AlluviumMemory"]["expr"]
    assert {name: rule["annotations"] for name, rule in rules.items()} == {
        name: rule["annotations"] for name, rule in committed.items()
    }


def test_a_healthy_shop_raises_nothing(shop: Watched) -> None:
    """Not while artifacts are swapped, a worker joins, partitions move, a worker is restarted and one leaves."""
    prometheus = shop.prometheus
    shop.start("worker-2")
    shop.wait_until_ready("worker", "worker-2")
    shop.stop_process("worker")
    shop.start("worker")
    shop.wait_until_ready("worker", "worker-2")
    shop.stop_process("worker-2")
    shop.wait_until_ready("worker")
    shop.wait_until_served(2)
    assert prometheus.ever_fired() == set()
    prometheus.wait_for_peace()


def test_bad_input_of_every_kind(shop: Watched) -> None:
    """Messages that are no events, events on the wrong partition, events from the future, items that are none."""
    wrong = (murmur2_partition(b"u1", PARTITIONS) + 1) % PARTITIONS
    ahead = int(time.time() * 1000) + 1_800_000  # Kafka itself refuses more than an hour

    def send() -> None:
        for number in range(3):
            shop.send("events", "somebody", b"no event")
            shop.producer.produce(
                shop.topic("events"),
                key="u2",
                value=json.dumps({"user_id": "u2", "item_id": f"i{number}", "event_type": "click"}),
                timestamp=ahead,
            )
        shop.click("u1", "i1")
        shop.send("events", "u1", {"user_id": "u1", "item_id": "i2", "event_type": "click"}, partition=wrong)
        shop.send("items", "broken", b"{")

    shop.prometheus.wait_for(
        "AlluviumDeadLetters", "AlluviumMisplacedEvents", "AlluviumClocksDiffer", "AlluviumBadItems", meanwhile=send
    )
    shop.prometheus.wait_for_peace()


def test_kafka_stops_answering(shop: Watched, broker: Broker) -> None:
    """Paused, the broker is missed by both; worker and trainer live on and go on when it does."""
    worker, trainer = shop.processes["worker"], shop.processes["trainer"]
    broker.pause()
    try:
        shop.prometheus.wait_for("AlluviumKafkaAway")
    finally:
        broker.resume()
    shop.prometheus.wait_for_peace()
    assert worker.poll() is None
    assert trainer.poll() is None


def test_a_topic_is_deleted(shop: Watched) -> None:
    """Without the topic of lists none can be delivered: the worker stands still, while more and more events come. Once
    the topic is there again the same process answers them all.
    """
    admin, lists = AdminClient({"bootstrap.servers": shop.servers}), shop.topic("recommendations")
    admin.delete_topics([lists])[lists].result(30)

    def rush() -> None:
        for number in range(20):
            shop.click(f"u{number}", "i1")

    try:
        shop.prometheus.wait_for("AlluviumStandingStill", "AlluviumLagGrowing", meanwhile=rush)
    finally:
        shop.create_topics()
    shop.prometheus.wait_for_peace()
    assert shop.processes["worker"].poll() is None


def test_no_worker_no_trainer_and_a_damaged_artifact(shop: Watched) -> None:
    """Trainer and worker are killed and missed. The worker that comes back finds a flipped byte in the announced
    artifact: it refuses it, says so, and serves an older one, until the trainer is back and publishes.
    """
    shop.wait_until_served(2)
    shop.kill_process("trainer")
    shop.prometheus.wait_for("AlluviumTrainerDown")
    shop.kill_process("worker")
    shop.prometheus.wait_for("AlluviumNoWorker", "AlluviumWorkerDown")
    damaged = shop.announced()
    flip_a_byte(shop.directory / "artifacts" / damaged / "items.parquet")
    shop.start("worker")
    shop.prometheus.wait_for("AlluviumArtifactLoadFailed", "AlluviumAnnouncedNotServing")
    serving = f'count(alluvium_artifact_info{{job="alluvium-worker",artifact!="{damaged}"}} == 1)'
    assert shop.prometheus.value(serving) == 1
    shop.start("trainer")
    wait_until(lambda: shop.announced() > damaged, "another artifact", PATIENCE)
    shop.prometheus.wait_for_peace()


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
