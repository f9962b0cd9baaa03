"""`alluvium topics`, `doctor`, `state` and `recommend` as a person types them, against the real broker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stream.kafka import producer
from stream.settings import KafkaSettings, Settings
from stream.shop.broker import Broker
from stream.state.row import encode_state
from stream.state.user_state import Stamped, UserState, advance
from stream.wire.messages import Event
from stream.wire.topics import changelog_name

pytestmark = pytest.mark.kafka


class Shell:
    """Runs `alluvium` with settings from the environment only."""

    def __init__(self, broker: Broker, prefix: str, directory: Path) -> None:
        self.kafka = KafkaSettings(bootstrap_servers=broker.bootstrap_servers, topic_prefix=prefix)
        self._directory = directory
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("ALLUVIUM_")} | {
            "ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "ALLUVIUM_KAFKA__TOPIC_PREFIX": prefix,
        }

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stream.cli", *arguments],
            cwd=self._directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def alluvium(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> Shell:
    return Shell(kafka_broker, topic_prefix, tmp_path)


def test_the_doctor_sends_a_newcomer_from_topics_to_health(alluvium: Shell) -> None:
    """Without topics it fails and says `alluvium topics`; after that command all is well and nothing is left behind."""
    before = alluvium("doctor", "--json")
    failed = [check for check in json.loads(before.stdout) if check["status"] == "failed"]
    assert before.returncode == 1
    assert [check["name"] for check in failed] == ["topics"]
    assert "alluvium topics" in failed[0]["remedy"]

    assert alluvium("topics").returncode == 0
    after = alluvium("doctor", "--json")
    assert after.returncode == 0, after.stdout + after.stderr
    assert {check["name"] for check in json.loads(after.stdout)} >= {"java", "broker", "topics", "artifacts", "clock"}


async def test_state_is_read_from_the_changelog(alluvium: Shell) -> None:
    """The newest row of each user is printed as the contract says; an unknown user is an error."""
    assert alluvium("topics").returncode == 0
    state = UserState()
    advance(state, [Stamped(3, Event("u1", "i1", "click", 1_795_449_840_000))])
    old = encode_state(state)
    advance(state, [Stamped(8, Event("u1", "i2", "purchase", 1_795_449_841_500))])
    topic = changelog_name(alluvium.kafka, Settings().worker.group_id)
    async with producer(alluvium.kafka) as sender:
        for row in (old, encode_state(state)):
            await sender.send_and_wait(topic, row, key=b"u1", partition=5)

    shown = alluvium("state")
    assert [json.loads(line) for line in shown.stdout.splitlines()] == [
        {
            "user_id": "u1",
            "partition": 5,
            "offset": 8,
            "events_applied": 2,
            "history": [
                {"item_id": "i1", "event_type": "click", "timestamp": "2026-11-23T16:04:00.000Z"},
                {"item_id": "i2", "event_type": "purchase", "timestamp": "2026-11-23T16:04:01.500Z"},
            ],
            "last_recommendation_id": None,
        }
    ]
    assert alluvium("state", "u1").stdout == shown.stdout
    unknown = alluvium("state", "nobody")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "nobody" in unknown.stderr


def test_asking_without_a_worker_says_so(alluvium: Shell) -> None:
    """No traceback, exit code 1 and the process to start."""
    assert alluvium("topics").returncode == 0
    answer = alluvium("recommend", "u1", "--timeout", "1")
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "alluvium worker" in answer.stderr
    assert "Traceback" not in answer.stderr
