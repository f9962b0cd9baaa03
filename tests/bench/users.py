"""What many users cost a worker: memory over an empty one, and the seconds from its start to its first list.

    python tests/bench/users.py 1000000

Fills the changelog of an embedded broker with rows as workers write them, 20 interactions a user on average, and starts
a real `alluvium worker` on it, after one without any users. A click of a known user waits for each of them. Where
`ALLUVIUM_ARTIFACTS__URL` names a store, both serve its newest artifact.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from stream.shop.broker import Broker, free_port, running_broker
from stream.state.row import encode_state
from stream.state.user_state import HISTORY, RECENT_EVENT_IDS, UserState
from stream.wire.partitioner import murmur2_partition

PARTITIONS = 8
ITEMS = 26_000
SHAPES = 5_000  # histories that users share but for their offsets
START = 1_396_310_400_000
STORE = "ALLUVIUM_ARTIFACTS__URL"


def histories(rng: random.Random) -> Iterator[UserState]:
    """Users of 20 interactions on average, at most 50: many short visits, few long ones; every event had an id."""
    while True:
        length = min(HISTORY, max(1, int(rng.lognormvariate(2.82, 0.75))))
        now, times, types = START + rng.randrange(10**9), [], []
        for _ in range(length):
            now += int(rng.lognormvariate(11, 1.5))  # a minute, now and then hours
            times.append(now)
            types.append("click" if rng.random() < 0.9 else rng.choice(("cart", "purchase")))
        yield UserState(
            events_applied=length,
            items=[_item(rng) for _ in range(length)],
            types=types,
            times=times,
            purchased=[_item(rng) for kind in types if kind == "purchase"],
            recent_event_ids=rng.randbytes(8 * min(length, RECENT_EVENT_IDS)),
            last_recommendation_id=f"{rng.getrandbits(128):032x}",
            last_artifact="20261123T160000Z-3f9c",
            last_items=[_item(rng) for _ in range(20)],
        )


def fill(servers: str, topic: str, users: int) -> dict[str, float]:
    """Writes the users' rows; what a row and its history are on average."""
    rng = random.Random(7)
    made = histories(rng)
    shapes = [next(made) for _ in range(min(SHAPES, users))]
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 50, "queue.buffering.max.messages": 1_000_000})
    size = interactions = 0
    for user in range(users):
        state = shapes[user % len(shapes)]
        state.offset = -1 if user == 0 else 10**7 + user
        row, key = encode_state(state), b"%010d" % user
        size, interactions = size + len(row), interactions + len(state.items)
        producer.produce(topic, row, key, partition=murmur2_partition(key, PARTITIONS))
        if user % 10_000 == 0:
            producer.poll(0)
        while len(producer) > 500_000:
            producer.poll(0.05)
    assert producer.flush(120) == 0
    return {"interactions": interactions / max(1, users), "row_bytes": size / max(1, users)}


class Run:
    """A worker on the topics of a prefix, from its start on; everything it says goes to `log`."""

    def __init__(self, broker: Broker, prefix: str, directory: Path) -> None:
        self.prefix, self.log = prefix, directory / f"{prefix}log"
        self.port, self._servers, self._directory = free_port(), broker.bootstrap_servers, directory
        self.environment = os.environ | {
            "ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS": self._servers,
            "ALLUVIUM_KAFKA__TOPIC_PREFIX": prefix,
            "ALLUVIUM_KAFKA__PARTITIONS": str(PARTITIONS),
            "ALLUVIUM_WORKER__GROUP_ID": f"{prefix}workers",
            "ALLUVIUM_WORKER__HTTP_PORT": str(self.port),
            STORE: os.environ.get(STORE, str(directory / "artifacts")),
        }
        self._alluvium("topics")
        if STORE in os.environ:
            self._alluvium("artifacts", "promote", "latest")
        self.changelog = f"{prefix}{prefix}workers-state-changelog"

    def _alluvium(self, *arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "stream.cli", *arguments], env=self.environment, cwd=self._directory, check=True
        )

    def measure(self) -> dict[str, float]:
        """Starts the worker, a click waiting; seconds to ready and to the list, MiB held then and at most."""
        key = b"%010d" % 0
        click = {"user_id": key.decode(), "item_id": "214800001", "event_type": "click"}
        producer = Producer({"bootstrap.servers": self._servers})
        partition = murmur2_partition(key, PARTITIONS)
        producer.produce(self.prefix + "events", msgspec.json.encode(click), key, partition=partition)
        assert producer.flush(30) == 0
        consumer = Consumer({"bootstrap.servers": self._servers, "group.id": "nobody", "fetch.wait.max.ms": 10})
        consumer.assign([TopicPartition(self.prefix + "recommendations", partition, OFFSET_BEGINNING)])
        begun = time.monotonic()
        with self.log.open("wb") as output:
            worker = subprocess.Popen(
                [sys.executable, "-m", "stream.cli", "worker"],
                env=self.environment, cwd=self._directory, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            return self._watch(worker, consumer, begun)
        finally:
            worker.terminate()
            worker.wait(30)
            consumer.close()

    def _watch(self, worker: subprocess.Popen[bytes], consumer: Consumer, begun: float) -> dict[str, float]:
        seen: dict[str, float] = {}
        while len(seen) < 2:
            assert worker.poll() is None, self.log.read_text()
            now = time.monotonic() - begun
            if "first_list" not in seen and (message := consumer.poll(0.02)) is not None and not message.error():
                seen["first_list"] = time.monotonic() - begun
            if "ready" not in seen and self._ready():
                seen["ready"] = now
        time.sleep(3)  # what start-up has let go of is gone
        return seen | {"mib": _memory(worker.pid, "VmRSS"), "peak_mib": _memory(worker.pid, "VmHWM")}

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=1) as answer:
                return bool(json.loads(answer.read())["ready"])
        except OSError:
            return False


def _item(rng: random.Random) -> str:
    return f"2148{rng.randrange(ITEMS):05d}"


def _memory(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":")) / 1024


def measured(users: int, directory: Path) -> dict[str, Any]:
    """Everything this says of so many users."""
    with running_broker(directory / "kafka") as broker:
        empty = Run(broker, "none.", directory).measure()
        full = Run(broker, "many.", directory)
        begun = time.monotonic()
        rows = fill(broker.bootstrap_servers, full.changelog, users)
        filled = time.monotonic() - begun
        found = full.measure()
        if "--log" in sys.argv:
            sys.stderr.write(full.log.read_text())
    over = found["mib"] - empty["mib"]
    return {
        "users": users, **rows, "fill_seconds": filled, "empty": empty, "full": found,
        "gib_over_empty": over / 1024, "bytes_per_user": over * (1 << 20) / max(1, users),
    }  # fmt: skip


def main() -> None:
    """Prints one JSON document."""
    with tempfile.TemporaryDirectory(prefix="users-") as directory:
        result = measured(int(sys.argv[1]), Path(directory))
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(result)).decode() + "\n")


if __name__ == "__main__":
    main()
