"""Real trainers around a real broker: started, killed and frozen, with planted events to learn from."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from aiokafka import AIOKafkaProducer

from stream.announcements import CHAMPION, read_announcements
from stream.kafka import admin_client
from stream.knowledge.store import ArtifactStore
from stream.logs import Log
from stream.settings import Settings, read_settings
from stream.shop.broker import Broker, free_port
from stream.shop.children import end, last_lines, spawn
from stream.wire.messages import ArtifactAnnouncement
from stream.wire.topics import create_topics

GROUPS, PER_GROUP = 6, 5  # users of a group click the items of their group only
START = 1_700_000_000_000


class House:
    """One trainer's settings, its processes and the log it reads."""

    def __init__(self, broker: Broker, prefix: str, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.environment = {
            "ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "ALLUVIUM_KAFKA__TOPIC_PREFIX": prefix,
            "ALLUVIUM_KAFKA__PARTITIONS": "4",
            "ALLUVIUM_ARTIFACTS__URL": str(directory / "artifacts"),
            "ALLUVIUM_ARTIFACTS__CACHE_DIR": str(directory / "cache"),
            "ALLUVIUM_TRAINER__REFRESH_SECONDS": "2",
            "ALLUVIUM_TRAINER__MIN_EVENTS": "300",
            "ALLUVIUM_TRAINER__HTTP_PORT": str(self.port),
            "ALLUVIUM_TRAINER__SESSION_TIMEOUT_SECONDS": "6",
            "ALLUVIUM_TRAINER__THREADS": "1",
            "ALLUVIUM_TRAINER__NICENESS": "0",  # a busy machine must not starve the one that a test waits for
            "ALLUVIUM_MODEL__TOKEN_BUCKETS": "256",
            "ALLUVIUM_MODEL__DIMENSIONS": "16",
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        self.settings: Settings = read_settings(None, self.environment)
        self.store = ArtifactStore(self.settings.artifacts.url, self.settings.artifacts.cache_dir)
        self.log = directory / "trainer.log"
        self.program: Sequence[str] = (sys.executable, "-m", "stream.cli")

    @contextmanager
    def trainer(self, **more: str) -> Iterator[subprocess.Popen[bytes]]:
        process = spawn([*self.program, "trainer"], self.log, environment={**os.environ, **self.environment, **more})
        try:
            yield process
        finally:
            end(process, 5)

    async def announced(self) -> list[ArtifactAnnouncement]:
        found = await read_announcements(self.settings.kafka, Log("test"))
        return [announcement for channel, announcement in found if channel == CHAMPION]

    async def wait_for_announcements(self, count: int, process: subprocess.Popen[bytes]) -> list[ArtifactAnnouncement]:
        for _ in range(600):
            found = await self.announced()
            if len(found) >= count:
                return found
            assert process.poll() is None, last_lines(self.log)
            await asyncio.sleep(0.1)
        raise AssertionError(f"only {len(found)} of {count} announcements:\n{last_lines(self.log)}")

    def topic(self, name: str) -> tuple[str, str]:
        """Where a topic is: the broker, and its full name."""
        return self.settings.kafka.bootstrap_servers, self.settings.kafka.topic_prefix + name

    def get(self, path: str, port: int | None = None) -> str:
        """The body of an HTTP answer, whatever its status; empty while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port or self.port}{path}", timeout=5) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return error.read().decode()
        except OSError:
            return ""


async def house_with_topics(broker: Broker, prefix: str, directory: Path) -> House:
    """A house whose topics exist."""
    made = House(broker, prefix, directory)
    async with admin_client(made.settings.kafka) as admin:
        await create_topics(admin, made.settings.kafka, made.settings.worker.group_id)
    return made


async def write_clicks(house: House, count: int, seed: int) -> None:
    """Planted structure: users of group g click random items of group g. Each event is also sent a second time."""
    rng = random.Random(seed)
    async with AIOKafkaProducer(bootstrap_servers=house.settings.kafka.bootstrap_servers) as client:
        for number in range(count):
            user = rng.randrange(60)
            item = (user % GROUPS) * PER_GROUP + rng.randrange(PER_GROUP)
            event: dict[str, str | int] = {
                "user_id": f"u{user}",
                "item_id": f"i{item}",
                "event_type": "click",
                "event_id": f"{seed}-{number}",
                "timestamp": START + seed * 10_000_000 + number * 1000,
            }
            for _ in range(2):
                await client.send(
                    house.settings.kafka.topic_prefix + "events",
                    json.dumps(event).encode(),
                    key=f"u{user}".encode(),
                )


async def write_items(house: House, records: Mapping[str, bytes | None]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=house.settings.kafka.bootstrap_servers) as client:
        for key, value in records.items():
            await client.send(house.settings.kafka.topic_prefix + "items", value, key=key.encode())
