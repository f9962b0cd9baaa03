"""One worker on the real broker, asked by a client that knows nothing of us: events, requests, artifacts, bad input."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.knowledge.store import ArtifactStore
from stream.metrics import STAGES
from stream.shop.broker import Broker
from stream.wire.partitioner import murmur2_partition
from tests.artifacts import HOUR, NOON, place_of, publish_made
from tests.worker_kit import PARTITIONS, Shop, Worker, dead_sources, wait_until

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def shop(kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(kafka_broker, "answers.", tmp_path_factory.mktemp("answers")).create_topics()
    yield shop
    shop.close()


@pytest.fixture(scope="module")
def store(shop: Shop) -> ArtifactStore:
    return ArtifactStore(str(shop.directory / "artifacts"), shop.directory / "cache")


@pytest.fixture(scope="module")
def worker(shop: Shop) -> Worker:
    return shop.start_worker().wait_until_ready()


def announce(shop: Shop, store: ArtifactStore, artifact: str, pinned: str | None = None) -> None:
    shop.send(
        "artifacts",
        "champion",
        {
            "artifact": artifact,
            "parent": None,
            "url": store.url,
            "manifest_sha256": pinned or store.manifest_sha256(artifact),
            "announced_at": "2026-11-23T12:00:00Z",
        },
    )
    shop.flush()


def test_a_click_is_answered_by_a_list_that_has_seen_it(shop: Shop, worker: Worker) -> None:
    """The list is keyed by the user, on the partition of the event, and names the event and no artifact."""
    shop.click("ann", "hat", "addtocart", timestamp="2026-11-23T16:04:00Z")
    shop.flush()
    records = wait_until(lambda: shop.read("recommendations"), "a list")
    message, (event,) = json.loads(records[0].value()), shop.read("events")
    assert (records[0].key(), records[0].partition()) == (b"ann", event.partition())
    assert message["provenance"]["event"] == {
        "topic": shop.topic("events"), "partition": event.partition(), "offset": event.offset(),
    }  # fmt: skip
    assert (message["kind"], message["user_id"], message["request_id"]) == ("user", "ann", None)
    assert (message["event_timestamp"], message["fallback"]) == ("2026-11-23T16:04:00.000Z", "no_artifact")
    assert message["provenance"]["artifact"] is None


def test_every_kind_of_request_is_answered_under_its_own_key(shop: Shop, worker: Worker) -> None:
    """Lists for a user, an item and an anonymous session; an error for a search and for what cannot be read."""
    shop.click("bob", "coat")
    shop.flush()
    wait_until(lambda: any(message["user_id"] == "bob" for message in shop.lists()), "bob's list")
    view = {"user_id": "?", "item_id": "hat", "event_type": "view"}
    shop.send("requests", "bob", {"request_id": "user", "user_id": "bob", "count": 1})
    shop.send("requests", "stranger", {"request_id": "unknown", "user_id": "stranger"})
    shop.send("requests", "k2", {"request_id": "item", "kind": "item", "item_id": "hat"})
    shop.send("requests", None, {"request_id": "session", "kind": "session", "history": [view]}, partition=1)
    shop.send("requests", "k3", {"request_id": "search", "kind": "search", "query": "hats"})
    shop.send("requests", "k4", {"request_id": "alien", "kind": "session", "history": [{**view, "event_type": "?"}]})
    shop.send("requests", "k5", {"request_id": "count", "user_id": "bob", "count": 1000})
    shop.flush()

    assert len(shop.answer("user")["items"]) == 1
    assert shop.answer("user")["provenance"]["event"]["topic"] == shop.topic("events")
    assert shop.answer("unknown")["fallback"] == "unknown_user"
    assert shop.answer("unknown")["items"]
    assert "hat" not in [item["item_id"] for item in shop.answer("item")["items"]]
    assert shop.answer("session")["items"]
    errors = {name: shop.answer(name)["error"]["code"] for name in ("search", "alien", "count")}
    assert errors == {"search": "search_not_available", "alien": "unknown_event_type", "count": "out_of_range"}
    keys = {json.loads(record.value())["request_id"]: record.key() for record in shop.read("recommendations")}
    assert (keys["user"], keys["item"], keys["session"], keys["count"]) == (b"bob", b"k2", b"session", b"k5")


def test_a_request_keyed_by_something_else_reaches_the_users_state(shop: Shop, worker: Worker) -> None:
    """It is forwarded to the user's partition and answered on its own, under its own key."""
    shop.click("cleo", "scarf")
    home = murmur2_partition(b"cleo", PARTITIONS)
    away = (home + 1) % PARTITIONS
    shop.flush()
    wait_until(lambda: any(message["user_id"] == "cleo" for message in shop.lists()), "cleo's list")
    shop.send("requests", b"my-key", {"request_id": "astray", "user_id": "cleo"}, partition=away)
    shop.flush()
    answer = shop.answer("astray")
    assert (answer["fallback"], answer["provenance"]["event"]["partition"]) == ("no_artifact", home)
    record = next(record for record in shop.read("recommendations") if b'"astray"' in record.value())
    assert (record.key(), record.partition()) == (b"my-key", away)


def test_bad_records_become_dead_letters_as_they_came(shop: Shop, worker: Worker) -> None:
    """Original bytes, key and headers, a stable code, the source; and the counters agree with the log."""
    noise = b"\x00\xff\xfe"
    shop.send("events", b"\xffkey", noise, partition=2, headers=[("trace", b"t1")])
    shop.send("events", None, None, partition=2)
    shop.send("events", "dee", '{"user_id": "dee", "item_id": "i", "event_type": "teleport"}', partition=2)
    shop.send("requests", "k9", b"[1, 2", partition=2)
    shop.flush()
    wait_until(lambda: len(shop.read("dead-letters")) >= 5, "the letters")
    letters = {dict(record.headers())["alluvium-error"].decode(): record for record in shop.read("dead-letters")}
    first = next(record for record in shop.read("dead-letters") if record.value() == noise)
    assert (first.key(), first.partition(), dict(first.headers())["trace"]) == (b"\xffkey", 2, b"t1")
    assert letters.keys() == {"not_json", "tombstone", "unknown_event_type", "out_of_range"}
    assert (letters["tombstone"].key(), letters["tombstone"].value()) == (None, None)
    assert max(dead_sources(shop.read("dead-letters")).values()) == 1

    log = shop.read("events")
    outcomes = {name: worker.metric("events_total", outcome=name) for name in ("applied", "duplicate", "dead")}
    assert sum(outcomes.values()) == len(log)
    assert outcomes["dead"] == 3
    assert worker.metric("dead_letters_total") == len(shop.read("dead-letters"))


def test_artifacts_are_swapped_and_bad_ones_are_refused(shop: Shop, worker: Worker, store: ArtifactStore) -> None:
    """Lists name the announced artifact once it serves; a tampered one is refused, and the one before stays."""
    good = publish_made(store).id
    announce(shop, store, good)
    wait_until(lambda: worker.ready.get("artifact") == good, "the artifact to serve")
    for item in ("i1", "i2", "i3"):
        shop.click("eve", item)
    shop.flush()
    wait_until(lambda: any(message["provenance"]["artifact"] == good for message in shop.lists()), "a personal list")
    bad = publish_made(store, created=NOON + HOUR, seed=2).id
    (place_of(store, bad) / "items.parquet").write_bytes(b"tampered with")
    announce(shop, store, bad)
    wait_until(lambda: worker.metric("artifact_loads_total", outcome="refused") == 1, "the refusal")
    shop.click("eve", "i4")
    shop.flush()
    wait_until(lambda: [message["user_id"] for message in shop.lists()].count("eve") >= 2, "another list")
    served = [message for message in shop.lists() if message["user_id"] == "eve"]
    assert {message["provenance"]["artifact"] for message in served} == {good}
    assert served[-1]["fallback"] is None
    assert len(served[-1]["items"]) == 20
    assert worker.metric("prequential_events_total", event_type="click") >= 1
    assert all(worker.metric("stage_seconds_count", stage=stage) >= 1 for stage in STAGES)


def test_retired_items_leave_and_new_ones_appear(shop: Shop, worker: Worker, store: ArtifactStore) -> None:
    """A tombstone takes an item out of all lists; an item that the artifact does not know is seconds later in a place
    kept for such items of a user who likes its kind, by its source and its propensity, and the place is counted.
    """
    shop.send("items", "i2", None)
    shop.send("items", "brand-new", {"item_id": "brand-new", "title": "topic1 thing", "category": ["topic1"]})
    shop.send("items", "broken", b"{")
    shop.flush()
    wait_until(lambda: worker.metric("cold_items") == 1, "the new item")
    shop.send("requests", "eve", {"request_id": "all", "user_id": "eve", "count": 200})
    shop.send("requests", "eve", {"request_id": "ten", "user_id": "eve", "count": 10})
    shop.flush()
    listed = [item["item_id"] for item in shop.answer("all")["items"]]
    assert "i2" not in listed
    assert "brand-new" in listed
    (placed,) = (item for item in shop.answer("ten")["items"] if item["item_id"] == "brand-new")
    assert "new" in placed["source"]
    assert 0.0 < placed["propensity"] <= 1.0
    wait_until(lambda: worker.metric("exploration_slots_total") >= 1, "the place to be counted")
    assert worker.metric("exploration_slots_total") < 0.3 * worker.metric("recommended_items_total")
    taken = worker.metric("new_item_to_retrievable_seconds_sum") / worker.metric(
        "new_item_to_retrievable_seconds_count"
    )
    assert taken < 10.0


def test_the_state_command_and_a_restart_agree(shop: Shop, worker: Worker, store: ArtifactStore) -> None:
    """A stopped worker has committed everything: the next one sends no list again, has all state and serves from the
    newest valid artifact, though the one announced is bad; nothing was logged as an error.
    """
    before = len(shop.lists())
    assert worker.stop() == 0
    after = shop.start_worker().wait_until_ready()
    assert after.ready["artifact"] == publish_order(store)[0]
    assert after.metric("users") == len(shop.alluvium("state").stdout.splitlines())
    shop.send("requests", "eve", {"request_id": "again", "user_id": "eve"})
    shop.flush()
    assert shop.answer("again")["provenance"]["artifact"] == after.ready["artifact"]
    assert len(shop.lists()) == before + 1
    assert Counter(line.split()[1] for line in worker.log.read_text().splitlines())["ERROR"] == 0


def publish_order(store: ArtifactStore) -> list[str]:
    """Valid artifacts, newest first."""
    return [artifact for artifact in store.list() if not store.verify(artifact)]


def test_without_topics_it_refuses_and_says_what_to_do(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> None:
    """Exit code 1 and `alluvium topics`."""
    done = Shop(kafka_broker, topic_prefix, tmp_path).alluvium("worker")
    assert done.returncode == 1
    assert "run `alluvium topics`" in done.stderr
    assert "Traceback" not in done.stderr
