"""What a worker scores while it runs is what `alluvium evaluate --protocol served` finds in the log, to the last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from stream.knowledge.store import ArtifactStore
from stream.shop.broker import Broker
from tests.artifacts import HOUR, NOON, publish_made
from tests.worker_kit import Shop, Worker, wait_until

pytestmark = pytest.mark.kafka

ITEMS, USERS, THIRD = 120, 40, 1_500
TYPES, SHARES = ("click", "cart", "purchase", "remove", "dislike"), (0.7, 0.1, 0.1, 0.05, 0.05)


@pytest.fixture
def shop(kafka_broker: Broker, tmp_path: Path) -> Iterator[Shop]:
    settings = {"ALLUVIUM_RECOMMEND__SEED": "11", "ALLUVIUM_WORKER__SCORED_BURSTS": "0.5"}
    shop = Shop(kafka_broker, "live.", tmp_path, **settings).create_topics()
    yield shop
    shop.close()


def announce(shop: Shop, store: ArtifactStore, artifact: str) -> None:
    announcement = {"artifact": artifact, "parent": None, "url": store.url, "announced_at": "2026-11-23T12:00:00Z"}
    shop.send("artifacts", "champion", announcement | {"manifest_sha256": store.manifest_sha256(artifact)})
    shop.flush()


def send_third(shop: Shop, rng: np.random.Generator) -> None:
    """Bursts of one to eight events of one user, among them retries, bad records and items that nobody knows."""
    sent = 0
    while sent < THIRD:
        user = f"u{int(USERS * rng.random() ** 2)}"
        for _ in range(int(rng.integers(1, 9))):
            item = f"i{int((ITEMS + 8) * rng.random() ** 2)}" if rng.random() < 0.97 else "unheard-of"
            event_id = f"e{rng.integers(1 << 60)}"
            for _ in range(1 + (rng.random() < 0.05)):
                shop.click(user, item, str(rng.choice(TYPES, p=SHARES)), event_id=event_id)
                sent += 1
            if rng.random() < 0.02:
                shop.send("events", user, b"{" if rng.random() < 0.5 else {"user_id": user})
                sent += 1
    shop.flush()


def test_live_counters_and_evaluate_agree(shop: Shop) -> None:
    """Two artifacts, the second announced while events are under way: every event, hit and reciprocal rank is the same.

    By artifact, cut-off and event type, though the worker took the events in micro-batches of all sizes and scored half
    of those within bursts.
    """
    rng = np.random.default_rng(5)
    store = ArtifactStore(str(shop.directory / "artifacts"), shop.directory / "cache")
    old, new = (publish_made(store, created=NOON + at * HOUR, seed=at, items=ITEMS).id for at in (1, 2))
    for row in range(0, ITEMS, 10):
        shop.send("items", f"i{row}", {"item_id": f"i{row}", "available": row % 20 == 0})
    for row in range(ITEMS, ITEMS + 8):  # newer than both artifacts: they take turns in places of their own
        shop.send("items", f"i{row}", {"item_id": f"i{row}", "title": f"topic{row % 4} thing"})
    announce(shop, store, old)
    worker = shop.start_worker().wait_until_ready()
    send_third(shop, rng)
    wait_until(lambda: worker.metric("events_total") > THIRD / 2, "half of the first events")
    announce(shop, store, new)
    send_third(shop, rng)
    wait_until(lambda: worker.metric("artifact_info", artifact=new) == 1, "the second artifact")
    send_third(shop, rng)
    records = len(shop.read("events"))
    wait_until(lambda: worker.metric("events_total") == records, "every event")

    found = json.loads(shop.alluvium("evaluate", "--protocol", "served", "--json").stdout)
    agree(worker, found)
    for k in ("10", "20"):
        popular = found["against"]["popular"][f"recall@{k}"] * found["queries"]
        assert worker.metric("prequential_popular_hits_total", k=k) == pytest.approx(popular, rel=1e-9)
    assert set(found["by_artifact"]) == {old, new}
    assert min(one["queries"] for one in found["by_artifact"].values()) > 400
    assert 0.0 < found["mean"]["recall@10"] < found["mean"]["recall@20"] < 1.0
    assert set(found["left_out"]) == {"first_of_user", "duplicate", "not_json", "missing_field"}
    applied = worker.metric("events_total", outcome="applied")
    assert worker.metric("recommendations_total", kind="user") < applied, "bursts share lists"
    assert worker.metric("exploration_slots_total") > 0, "places drawn by lot are drawn alike"


def agree(worker: Worker, found: dict[str, dict[str, dict[str, dict[str, float]]]]) -> None:
    """Whole numbers are equal, sums of reciprocal ranks to nine digits; the families without artifacts are the sums."""
    artifacts = found["by_artifact"]
    for kind in TYPES:
        events = {name: one["events"].get(kind, 0) for name, one in artifacts.items()}
        for name, count in events.items():
            assert worker.metric("artifact_prequential_events_total", artifact=name, event_type=kind) == count
        assert worker.metric("prequential_events_total", event_type=kind) == sum(events.values())
        for k in ("10", "20"):
            hits = {name: one["hits"][k].get(kind, 0) for name, one in artifacts.items()}  # type: ignore[attr-defined]
            for name, count in hits.items():
                live = worker.metric("artifact_prequential_hits_total", artifact=name, event_type=kind, k=k)
                assert live == count, (name, kind, k)
            assert worker.metric("prequential_hits_total", event_type=kind, k=k) == sum(hits.values())
    sums = {name: one["reciprocal_rank_sum"] for name, one in artifacts.items()}
    for name, total in sums.items():
        live = worker.metric("artifact_prequential_reciprocal_rank_sum", artifact=name)
        assert live == pytest.approx(total, rel=1e-9)
