"""Replay into a real broker: every row is in the log or in the list of rejects, also when it was killed half-way."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import DefaultPartitioner

from stream.shop.broker import Broker
from tests.records import read_topic

pytestmark = pytest.mark.kafka
PARTITIONS = 4


async def create(broker: Broker, prefix: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        names = ("events", "items", "recommendations")
        await admin.create_topics([NewTopic(prefix + name, PARTITIONS, 1) for name in names])
    finally:
        await admin.close()


def command(broker: Broker, prefix: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    environment = {
        **os.environ,
        "ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "ALLUVIUM_KAFKA__TOPIC_PREFIX": prefix,
    }
    return [sys.executable, "-m", "stream.cli", "replay", *arguments, "--json"], environment


def replay(broker: Broker, prefix: str, folder: Path, *arguments: str) -> dict[str, Any]:
    line, environment = command(broker, prefix, *arguments)
    done = subprocess.run(line, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


async def test_rows_are_sent_or_listed(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> None:
    """Good rows are in the log in order of time, keyed by user as Java does; bad ones among the rejects by line."""
    lines = [
        "userId,movieId,rating,timestamp",
        "u1,m1,4.0,300",
        "u2,m2,4.0,100",
        ",m3,4.0,200",
        "u1,m4,high,200",
        "u1,m5,1.0,200",
    ]
    (tmp_path / "ratings.csv").write_text(
        "\n".join(lines).replace(",300", ",1500000300").replace(",100", ",1500000100").replace(",200", ",1500000200")
    )
    (tmp_path / "movies.csv").write_text(
        "movieId,title,genres\nm1,Toy Story (1995),Adventure|Children\nm2,Heat,Action\n"
    )
    await create(kafka_broker, topic_prefix)
    files = ("ratings.csv", "--items", "movies.csv", "--dataset", "movielens", "--rejects", "bad.jsonl")
    result = replay(kafka_broker, topic_prefix, tmp_path, *files)
    assert (result["rows"], result["sent"], result["items"]) == (5, 3, 2)
    assert result["rejected"] == {"no_user": 1, "bad_number": 1}
    rejects = [json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines()]
    assert [(entry["line"], entry["reason"]) for entry in rejects] == [(4, "no_user"), (5, "bad_number")]

    records = await read_topic(kafka_broker.bootstrap_servers, topic_prefix + "events")
    values = {record.value: record for record in records}
    ids = {json.loads(value)["event_id"]: json.loads(value) for value in values}
    assert ids.keys() == {"ratings-2", "ratings-3", "ratings-6"}
    assert ids["ratings-6"] | {} == {
        "user_id": "u1", "item_id": "m5", "event_type": "dislike", "event_id": "ratings-6",
        "timestamp": 1500000200000, "context": {"rating": 1.0},
    }  # fmt: skip
    every = list(range(PARTITIONS))
    for record in records:
        assert record.partition == DefaultPartitioner()(record.key, every, every)
        assert record.key.decode() == json.loads(record.value)["user_id"]
    mine = [json.loads(record.value)["item_id"] for record in records if record.key == b"u1"]
    assert mine == ["m5", "m1"]  # by time, though the file has them the other way round
    titles = [
        json.loads(record.value)["title"]
        for record in await read_topic(kafka_broker.bootstrap_servers, topic_prefix + "items")
    ]
    assert sorted(titles) == ["Heat", "Toy Story (1995)"]

    again = replay(kafka_broker, topic_prefix, tmp_path, *files)
    assert (again["sent"], again["resumed_from"]) == (0, 3)


def acknowledged(directory: Path) -> int:
    """How far the replay says it has come."""
    files = list((directory / ".alluvium" / "replay").glob("*.json"))
    return int(json.loads(files[0].read_text())["acknowledged"]) if files else 0


async def test_killed_replay_goes_on_and_loses_nothing(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> None:
    """Killed half-way and started again, every row is in the log once, those too that the dead run took no note of."""
    rng, rows = random.Random(5), 600_000  # some seconds
    log = "".join(f"u{rng.randrange(900)},i{rng.randrange(300)},{1_500_000_000 + n}\n" for n in range(rows))
    (tmp_path / "log.csv").write_text("user,item,time\n" + log)
    await create(kafka_broker, topic_prefix)
    arguments = ("log.csv", "--columns", "user=user,item=item,time=time")
    line, environment = command(kafka_broker, topic_prefix, *arguments)
    process = subprocess.Popen(
        line, env=environment, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not (saved := acknowledged(tmp_path)) and process.poll() is None:
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert saved, "the replay ended before it could be killed"

    result = replay(kafka_broker, topic_prefix, tmp_path, *arguments)
    assert 0 < result["resumed_from"] < rows
    assert result["resumed_from"] + result["sent"] == rows
    counts = Counter(
        json.loads(record.value)["event_id"]
        for record in await read_topic(kafka_broker.bootstrap_servers, topic_prefix + "events")
    )
    assert counts.keys() == {f"log-{number}" for number in range(2, rows + 2)}
    assert set(counts.values()) == {1}


async def test_wrong_usage_says_what_is_right(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> None:
    """A column that the file has not, or missing topics, end with a line that says what to do."""
    (tmp_path / "log.csv").write_text("user,item,time\nu,i,1500000000\n")
    line, environment = command(kafka_broker, topic_prefix, "log.csv", "--columns", "user=who,item=item,time=time")
    done = subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no column 'who'" in done.stderr
    line, environment = command(kafka_broker, topic_prefix, "log.csv", "--columns", "user=user,item=item,time=time")
    done = subprocess.run(line, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "alluvium topics" in done.stderr
