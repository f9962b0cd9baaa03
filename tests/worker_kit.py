"""A shop around real workers: starts, kills and stops them, and talks to Kafka by librdkafka, a stranger to us."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, Producer, TopicPartition

from stream.kafka import admin_client
from stream.settings import read_settings
from stream.shop.broker import Broker, free_port
from stream.wire.topics import create_topics

PARTITIONS = 4
PATIENCE = 150.0  # also where many other things run
PROGRAM = (sys.executable, "-m", "stream.cli")


def wait_until(true: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:  # noqa: ANN401
    """The first true value; fails naming what was waited for."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        value = true()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {patience:g} s in vain for {what}")


class Worker:
    """One `alluvium worker` process."""

    def __init__(
        self,
        environment: Mapping[str, str],
        log: Path,
        port: int,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        self.log, self.port = log, port
        self._url = f"http://127.0.0.1:{port}"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*program, "worker"],
                env={**environment, "ALLUVIUM_WORKER__HTTP_PORT": str(port)},
                cwd=log.parent,
                stdout=output,
                stderr=output,
            )

    def get(self, path: str) -> str:
        """The body of an HTTP answer, whatever its status; empty while nobody listens."""
        try:
            with urllib.request.urlopen(self._url + path, timeout=5) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return ""

    @property
    def ready(self) -> dict[str, Any]:
        """What /readyz says."""
        text = self.get("/readyz")
        return dict(json.loads(text)) if text else {"ready": False}

    def wait_until_ready(self) -> Worker:
        """Returns once partitions are assigned and state is recovered."""

        def is_ready() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return bool(self.ready["ready"])

        wait_until(is_ready, "the worker to be ready")
        return self

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        total = 0.0
        for line in re.findall(rf"^alluvium_{name}(?:{{.*}})? .*$", self.get("/metrics"), re.MULTILINE):
            if all(f'{label}="{value}"' in line for label, value in labels.items()):
                total += float(line.rsplit(" ", 1)[1])
        return total

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


class Shop:
    """Topics of one test and everything that reads and writes them."""

    def __init__(self, broker: Broker, prefix: str, directory: Path, **settings: str) -> None:
        self.prefix, self.directory = prefix, directory
        self.servers = broker.bootstrap_servers
        self.group = "g"
        self.environment = self.inherited() | {
            "ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS": self.servers,
            "ALLUVIUM_KAFKA__TOPIC_PREFIX": prefix,
            "ALLUVIUM_KAFKA__PARTITIONS": str(PARTITIONS),
            "ALLUVIUM_WORKER__GROUP_ID": prefix + self.group,
            "ALLUVIUM_WORKER__SESSION_TIMEOUT_SECONDS": "6",
            "ALLUVIUM_ARTIFACTS__URL": str(directory / "artifacts"),
            "OMP_NUM_THREADS": "1",
            **settings,
        }
        self.workers: list[Worker] = []
        self.producer = Producer(
            {"bootstrap.servers": self.servers, "partitioner": "murmur2_random", "enable.idempotence": True,
             "log_level": 2}
        )  # fmt: skip

    @staticmethod
    def inherited() -> dict[str, str]:
        """Our environment, without settings."""
        return {name: value for name, value in os.environ.items() if not name.startswith("ALLUVIUM_")}

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return f"{self.prefix}{self.prefix}{self.group}-state-changelog" if name == "state" else self.prefix + name

    def alluvium(self, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end; `given` is its standard input."""
        command = [sys.executable, "-m", "stream.cli", *arguments]
        return subprocess.run(
            command,
            env=self.environment,
            cwd=self.directory,
            input=given,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def create_topics(self) -> Shop:
        """What `alluvium topics` does, without a process."""
        settings = read_settings(None, self.environment)

        async def create() -> None:
            async with admin_client(settings.kafka) as admin:
                await create_topics(admin, settings.kafka, settings.worker.group_id)

        with ThreadPoolExecutor(1) as aside:  # a loop may run here
            aside.submit(lambda: asyncio.run(create())).result()
        return self

    def start_worker(self, program: Sequence[str] = PROGRAM) -> Worker:
        """Another worker of the group."""
        log = self.directory / f"worker-{len(self.workers)}.log"
        worker = Worker(self.environment, log, free_port(), program)
        self.workers.append(worker)
        return worker

    def send(
        self,
        name: str,
        key: str | bytes | None,
        value: object,
        *,
        partition: int | None = None,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> None:
        """Produces a record; anything but bytes, text and None as JSON."""
        encoded = value if value is None or isinstance(value, bytes | str) else json.dumps(value)
        where = {} if partition is None else {"partition": partition}
        self.producer.produce(self.topic(name), key=key, value=encoded, headers=headers, **where)
        self.producer.poll(0)

    def click(self, user: str, item: str, kind: str = "click", **more: object) -> None:
        """An event, keyed as the contract says."""
        self.send("events", user, {"user_id": user, "item_id": item, "event_type": kind, **more})

    def flush(self) -> None:
        """Returns when Kafka has everything."""
        assert self.producer.flush(30) == 0

    def read(self, name: str, isolation: str = "read_committed") -> list[Message]:
        """All records of a topic, by partition in log order; workers read uncommitted ones of `events` too."""
        consumer = Consumer(
            {"bootstrap.servers": self.servers, "group.id": uuid.uuid4().hex, "enable.auto.commit": False,
             "enable.partition.eof": True, "auto.offset.reset": "earliest", "isolation.level": isolation}
        )  # fmt: skip
        partitions = consumer.list_topics(self.topic(name), 10).topics[self.topic(name)].partitions
        consumer.assign([TopicPartition(self.topic(name), number, OFFSET_BEGINNING) for number in partitions])
        records, ended = [], 0
        while ended < len(partitions):
            message = consumer.poll(10)
            assert message is not None, f"{name} does not end"
            if message.error():
                ended += 1
            else:
                records.append(message)
        consumer.close()
        return sorted(records, key=lambda record: (record.partition(), record.offset()))

    def watermarks(self, name: str) -> list[tuple[int, int]]:
        """First and next offset of each partition of a topic."""
        consumer, topic = Consumer({"bootstrap.servers": self.servers, "group.id": uuid.uuid4().hex}), self.topic(name)

        def asked() -> list[tuple[int, int]]:
            try:
                partitions = consumer.list_topics(topic, 10).topics[topic].partitions
                return [consumer.get_watermark_offsets(TopicPartition(topic, number), 10) for number in partitions]
            except KafkaException:  # a partition that was just made may have no leader yet
                return []

        found: list[tuple[int, int]] = wait_until(asked, f"the ends of {topic}")
        consumer.close()
        return found

    def lists(self) -> list[dict[str, Any]]:
        """All messages on `recommendations`."""
        return [json.loads(record.value()) for record in self.read("recommendations")]

    def answer(self, request_id: str) -> dict[str, Any]:
        """The answer to a request."""

        def answered() -> dict[str, Any] | None:
            return next((message for message in self.lists() if message["request_id"] == request_id), None)

        return dict(wait_until(answered, f"the answer to {request_id}", 20))

    def wait_until_answered(self, events: Iterable[tuple[str, int, int]]) -> None:
        """Returns once each (user, partition, offset) stands at or below the provenance of a list for that user."""
        wanted: dict[tuple[str, int], int] = {}
        for user, partition, offset in events:
            wanted[user, partition] = max(offset, wanted.get((user, partition), -1))

        def answered() -> bool:
            seen = newest_seen(self.lists())
            return all(seen.get(at, -1) >= offset for at, offset in wanted.items())

        wait_until(answered, "a list for every event")

    def close(self) -> None:
        """Ends what still runs."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()


def newest_seen(lists: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int], int]:
    """For each user and partition the newest event that a list has seen."""
    seen: dict[tuple[str, int], int] = {}
    for message in lists:
        event = message["provenance"]["event"]
        if message["request_id"] is None:
            at = (message["user_id"], event["partition"])
            seen[at] = max(event["offset"], seen.get(at, -1))
    return seen


def dead_sources(records: Iterable[Message]) -> Counter[str]:
    """How often each source stands in `dead-letters`."""
    return Counter(dict(record.headers())["alluvium-source"].decode() for record in records)
