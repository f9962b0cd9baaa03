"""A log evaluated from its file, and from the topics after it was replayed into a real broker: the same result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.shop.broker import Broker

pytestmark = pytest.mark.kafka
COLUMNS = "user=visitor,item=sku,time=ts,type=what"
MEASURES = ("mean", "periods", "queries", "unseen", "known", "cold", "coverage", "intervals", "refreshes")

Run = Callable[..., str]


@pytest.fixture
def alluvium(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> Run:
    environment = {
        **os.environ,
        "ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS": kafka_broker.bootstrap_servers,
        "ALLUVIUM_KAFKA__TOPIC_PREFIX": topic_prefix,
        "ALLUVIUM_KAFKA__PARTITIONS": "4",
    }

    def run(*arguments: str) -> str:
        line = [sys.executable, "-m", "stream.cli", *arguments]
        done = subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def walks(file: Path) -> None:
    """Visitors take turns at walking round a ring of twenty goods, every ten seconds one; three rows are no events."""
    rng = np.random.default_rng(8)
    at = rng.integers(20, size=40)
    rows = ["visitor,sku,ts,what"]
    for moment in range(600):
        visitor = int(rng.integers(40))
        at[visitor] = (at[visitor] + 1) % 20
        rows.append(f"v{visitor},g{at[visitor]},{1_600_000_000 + 10 * moment},{'buy' if moment % 9 == 0 else 'view'}")
    rows[100:100] = ["v1,,1600000000,view", "v1,g1,1600000000,dance", "v1,g1,soon,view"]
    file.write_text("\n".join(rows))


def test_the_topics_say_what_the_file_says(alluvium: Run, tmp_path: Path) -> None:
    """Order, times, types and repeated visits survive the way through four partitions, to the last digit."""
    walks(tmp_path / "log.csv")
    options = ("--model", "covisitation", "--refresh-every", "20m", "--json")
    from_file: dict[str, Any] = json.loads(alluvium("evaluate", "log.csv", "--columns", COLUMNS, *options))
    alluvium("topics")
    alluvium("replay", "log.csv", "--columns", COLUMNS, "--speed", "max")
    from_topics: dict[str, Any] = json.loads(alluvium("evaluate", *options))
    assert from_file["left_out"] == {"no_item": 1, "no_type": 1, "bad_time": 1}
    assert from_topics["left_out"] == {}  # replay has not sent them
    assert from_file["queries"] > 400
    assert from_file["mean"]["recall@10"] > 0.5
    for measure in MEASURES:
        assert from_topics[measure] == from_file[measure], measure
