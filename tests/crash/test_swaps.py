"""A worker changes artifacts again and again while events flow, and is killed in the middle of a change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.failpoints import VARIABLE
from stream.knowledge.store import ArtifactStore
from stream.shop.broker import Broker
from tests.swaps import Versions
from tests.worker_kit import Shop, Worker, wait_until

pytestmark = pytest.mark.kafka

USERS = 40


@pytest.fixture
def shop(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(kafka_broker, topic_prefix, tmp_path).create_topics()
    yield shop
    shop.close()


@pytest.fixture
def store(shop: Shop) -> ArtifactStore:
    return ArtifactStore(str(shop.directory / "artifacts"), shop.directory / "cache")


def loaded(worker: Worker) -> float:
    return worker.metric("artifact_loads_total", outcome="loaded")


def assert_answered(shop: Shop) -> None:
    """A list for every event of the log, and one id always with the same items."""
    shop.wait_until_answered(
        (str((record.key() or b"").decode()), record.partition(), record.offset()) for record in shop.read("events")
    )
    items: dict[str, list[str]] = {}
    for message in shop.lists():
        listed = [item["item_id"] for item in message["items"]]
        assert items.setdefault(message["recommendation_id"], listed) == listed


@pytest.mark.parametrize("swaps", [25, pytest.param(100, marks=pytest.mark.soak)])
def test_one_artifact_after_the_other_under_load(shop: Shop, store: ArtifactStore, swaps: int) -> None:
    """Each announced as soon as the one before it serves, events all the while: each serves, none is refused, every
    event is answered, and every list holds items of the one artifact that it names.
    """
    versions = Versions(store, swaps, items=50)
    worker = shop.start_worker().wait_until_ready()
    for number, artifact in enumerate(versions.ids):
        versions.announce(shop, artifact)
        sent = 0

        def serves(number: int = number) -> bool:
            nonlocal sent
            versions.clicks(shop, 20, 20 * sent, USERS)
            sent += 1
            return loaded(worker) == number + 1

        wait_until(serves, f"artifact {number}")
    versions.clicks(shop, USERS, 0, USERS)
    shop.flush()
    assert_answered(shop)
    assert versions.ids[-1] in versions.assert_unmixed(shop.lists())
    assert worker.metric("artifact_loads_total", outcome="refused") == 0
    assert worker.stop() == 0


@pytest.mark.parametrize("place", ["swap.prepared", "swap.assigned"])
def test_killed_in_the_middle_of_a_swap(shop: Shop, store: ArtifactStore, place: str) -> None:
    """Just before the new artifact serves, or just after: the worker that is started again serves the announced one,
    every event is answered, no list is mixed, and the state holds every event once.
    """
    versions = Versions(store, 3, items=50)
    shop.environment[VARIABLE] = f"{place}=kill@2"
    worker = shop.start_worker().wait_until_ready()
    versions.announce(shop, versions.ids[0])
    wait_until(lambda: loaded(worker) == 1, "the first artifact")
    versions.clicks(shop, 300, 0, USERS)
    versions.announce(shop, versions.ids[1])
    versions.clicks(shop, 300, 300, USERS)
    shop.flush()
    assert worker.process.wait(60) == -9
    del shop.environment[VARIABLE]
    versions.announce(shop, versions.ids[2])
    again = shop.start_worker().wait_until_ready()
    versions.clicks(shop, USERS, 600, USERS)
    shop.flush()
    assert_answered(shop)
    assert again.ready["artifact"] == versions.ids[2]
    assert versions.ids[2] in versions.assert_unmixed(shop.lists())
    done = shop.alluvium("state")
    assert sum(line.count('"event_type"') for line in done.stdout.splitlines()) == 600 + USERS
    assert again.stop() == 0
