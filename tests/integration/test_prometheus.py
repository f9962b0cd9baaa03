"""A real Prometheus scrapes a real worker and a real trainer, and evaluates the committed rules over them."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiokafka import AIOKafkaProducer

from stream.kafka import admin_client
from stream.settings import Settings, read_settings
from stream.shop.broker import Broker, free_port
from stream.shop.children import end, last_lines, signal_group, spawn
from stream.wire.topics import create_topics
from tests.known_metrics import families
from tests.prometheus_tools import ROOT, promtool, tool

pytestmark = pytest.mark.kafka

GOOD, BAD = 600, 7
TRIES, PAUSE = 900, 0.2


class House:
    """A worker, a trainer and a Prometheus of one test."""

    def __init__(self, broker: Broker, prefix: str, directory: Path) -> None:
        self.directory = directory
        self.worker_port, self.trainer_port, self.port = free_port(), free_port(), free_port()
        self.environment = {
            "ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "ALLUVIUM_KAFKA__TOPIC_PREFIX": prefix,
            "ALLUVIUM_KAFKA__PARTITIONS": "2",
            "ALLUVIUM_WORKER__GROUP_ID": prefix + "workers",
            "ALLUVIUM_WORKER__HTTP_PORT": str(self.worker_port),
            "ALLUVIUM_TRAINER__HTTP_PORT": str(self.trainer_port),
            "ALLUVIUM_TRAINER__REFRESH_SECONDS": "3",
            "ALLUVIUM_TRAINER__THREADS": "1",
            "ALLUVIUM_ARTIFACTS__URL": str(directory / "artifacts"),
            "ALLUVIUM_MODEL__DIMENSIONS": "16",
            "ALLUVIUM_MODEL__TOKEN_BUCKETS": "256",
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        self.settings: Settings = read_settings(None, self.environment)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """`alluvium worker` or `alluvium trainer`."""
        arguments = [sys.executable, "-m", "stream.cli", command]
        environment = {**os.environ, **self.environment}
        self.processes[command] = spawn(arguments, self.directory / f"{command}.log", environment=environment)
        return self.processes[command]

    def start_prometheus(self) -> subprocess.Popen[bytes]:
        """The committed local configuration, but for ports, and faster."""
        config = yaml.safe_load((ROOT / "deploy/prometheus/local.yml").read_text("utf-8"))
        config["global"] = {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(ROOT / "deploy/prometheus/rules.yml")]
        for job, port in zip(config["scrape_configs"], (self.worker_port, self.trainer_port), strict=True):
            job["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
        file = self.directory / "prometheus.yml"
        file.write_text(yaml.safe_dump(config), "utf-8")
        arguments = [
            tool("prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={self.directory / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self.processes["prometheus"] = spawn(arguments, self.directory / "prometheus.log")
        return self.processes["prometheus"]

    def get(self, port: int, path: str) -> tuple[int, str]:
        """Status and body; status 0 while nobody listens."""
        try:
            with closing(urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5)) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def api(self, path: str) -> Any:  # noqa: ANN401 - JSON
        status, body = self.get(self.port, f"/api/v1/{path}")
        return json.loads(body)["data"] if status == 200 else None

    def value(self, query: str) -> float | None:
        """The one value of a PromQL query, None when it has none yet."""
        data = self.api("query?" + urllib.parse.urlencode({"query": query}))
        return float(data["result"][0]["value"][1]) if data and data["result"] else None

    def alerts(self) -> dict[str, str]:
        """The state of each alert rule."""
        data = self.api("rules")
        rules = [rule for group in data["groups"] for rule in group["rules"]] if data else []
        assert not [rule for rule in rules if rule["health"] == "err"], rules
        return {rule["name"]: rule["state"] for rule in rules if rule["type"] == "alerting"}

    def is_pending(self, alert: str) -> bool:
        """Whether Prometheus is about to raise this alert."""
        return self.alerts().get(alert) == "pending"

    async def until(self, true: Callable[[], bool], what: str) -> None:
        """Looks again and again; a process that ends meanwhile fails the test with its last lines."""
        for _ in range(TRIES):
            if true():
                return
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} ended:\n{last_lines(self.directory / f'{name}.log')}"
            await asyncio.sleep(PAUSE)
        logs = "\n".join(last_lines(self.directory / f"{name}.log") for name in self.processes)
        raise AssertionError(f"never: {what}\n{logs}")


async def write(house: House) -> None:
    """Clicks within groups of items, and some messages that are no events."""
    rng = random.Random(5)
    topic = house.settings.kafka.topic_prefix + "events"
    async with AIOKafkaProducer(bootstrap_servers=house.settings.kafka.bootstrap_servers) as producer:
        for number in range(GOOD):
            user = rng.randrange(40)
            event = {"user_id": f"u{user}", "item_id": f"i{user % 5 * 6 + rng.randrange(6)}", "event_type": "click"}
            await producer.send(topic, json.dumps(event).encode(), key=event["user_id"].encode())
            if number % (GOOD // BAD) == 0 and number // (GOOD // BAD) < BAD:
                await producer.send(topic, b"no event", key=b"somebody")


async def test_prometheus_sees_what_happened(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> None:
    """Counters in Prometheus are those of the log, the rules evaluate over real series, and a kill raises its alert."""
    house = House(kafka_broker, topic_prefix, tmp_path)
    async with admin_client(house.settings.kafka) as admin:
        await create_topics(admin, house.settings.kafka, house.settings.worker.group_id)
    async with AsyncExitStack() as stack:
        stack.callback(end, house.start("worker"), 5)
        stack.callback(end, house.start("trainer"), 5)
        stack.callback(end, house.start_prometheus(), 5)
        await house.until(lambda: house.get(house.worker_port, "/readyz")[0] == 200, "the worker is ready")
        await house.until(lambda: house.get(house.trainer_port, "/readyz")[0] == 200, "the trainer is ready")
        await write(house)

        # What the log holds is what Prometheus counts.
        applied = 'sum(alluvium_events_total{outcome="applied"})'
        await house.until(lambda: house.value(applied) == GOOD, "all events are counted")
        await house.until(
            lambda: house.value("sum(alluvium_dead_letters_total)") == BAD, "all dead letters are counted"
        )
        dead = 'sum(alluvium_events_total{outcome="dead"})'
        await house.until(lambda: house.value(dead) == BAD, "all dead events are counted")
        await house.until(lambda: house.value("sum(alluvium_misplaced_events_total)") == 0, "no event is misplaced")
        await house.until(lambda: house.value('count(up{job=~"alluvium-.*"} == 1)') == 2, "both are up")
        await house.until(lambda: house.value("sum(alluvium_ready)") == 2, "both are ready")
        serving = 'count(alluvium_artifact_info{job="alluvium-worker"} == 1)'
        await house.until(lambda: house.value(serving) == 1, "an artifact serves")
        published = 'alluvium_refresh_total{outcome="published"}'  # scraped apart from the worker, so perhaps later
        await house.until(lambda: (house.value(published) or 0) >= 1, "the refresh is counted")

        # The rules are evaluated, and nothing is wrong. One scrape may fail while the trainer has the whole machine.
        assert set(house.alerts().values()) <= {"inactive", "pending"}
        await house.until(lambda: house.alerts().get("AlluviumNoWorker") == "inactive", "the worker is seen")

        # Both texts are as Prometheus wants them, and each process shows what it declares.
        shown = ""
        for port in (house.worker_port, house.trainer_port):
            status, text = house.get(port, "/metrics")
            assert status == 200
            assert promtool("check", "metrics", given=text.encode()) == ""
            shown += text
        declared = {line.split()[2] for line in shown.splitlines() if line.startswith("# TYPE")}
        assert declared == set(families())

        # A killed worker is noticed.
        worker = house.processes.pop("worker")
        signal_group(worker, signal.SIGKILL)
        for alert in ("AlluviumWorkerDown", "AlluviumNoWorker"):
            await house.until(partial(house.is_pending, alert), f"the kill is noticed by {alert}")
