"""The trainer on a real broker: first artifact, child after a kill, nothing half, bad items, one trainer only."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from stream.announcements import CHAMPION, REFRESH, read_announcements
from stream.kafka import admin_client
from stream.knowledge.directories import BUILDING
from stream.knowledge.store import ArtifactStore
from stream.logs import Log
from stream.settings import Settings, read_settings
from stream.shop.broker import Broker, free_port
from stream.shop.children import end, last_lines, signal_group, spawn
from stream.wire.messages import ArtifactAnnouncement
from stream.wire.topics import create_topics

pytestmark = pytest.mark.kafka

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
            "ALLUVIUM_TRAINER__THREADS": "1",
            "ALLUVIUM_MODEL__TOKEN_BUCKETS": "256",
            "ALLUVIUM_MODEL__DIMENSIONS": "16",
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        self.settings: Settings = read_settings(None, self.environment)
        self.store = ArtifactStore(self.settings.artifacts.url, self.settings.artifacts.cache_dir)
        self.log = directory / "trainer.log"

    @contextmanager
    def trainer(self, **more: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "stream.cli", "trainer"]
        process = spawn(command, self.log, environment={**os.environ, **self.environment, **more})
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

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return str(answer.read().decode())


@pytest.fixture
async def house(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> House:
    made = House(kafka_broker, topic_prefix, tmp_path)
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


async def read_topic(house: House, name: str) -> list[ConsumerRecord]:
    topic = house.settings.kafka.topic_prefix + name
    async with AIOKafkaConsumer(
        bootstrap_servers=house.settings.kafka.bootstrap_servers, auto_offset_reset="earliest"
    ) as consumer:
        partitions = [TopicPartition(topic, number) for number in range(house.settings.kafka.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[ConsumerRecord] = []
        while len(found) < sum(ends.values()):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
        return found


BAD_ITEMS = {"broken": b"{", "nameless": b'{"title": "x"}', "typed": b'{"item_id": 3}'}


async def test_a_killed_trainer_goes_on_where_its_last_artifact_ends(house: House) -> None:
    """The first artifact comes from the planted events, each counted once; after SIGKILL the next ones are its
    descendants, made from the old window and the new events, and no event is lost or learned as new twice. Bad records
    of `items` are written to `dead-letters` once over both lives of the trainer; the good ones beside them are learned.
    """
    items = {f"i{n}": json.dumps({"item_id": f"i{n}", "title": f"thing {n}"}).encode() for n in range(31)}
    await write_items(house, {**items, **BAD_ITEMS})
    await write_clicks(house, 600, seed=1)
    with house.trainer() as process:
        (first,) = await house.wait_for_announcements(1, process)
        assert (await asyncio.to_thread(house.get, "/healthz")) == "alive\n"
        assert json.loads(await asyncio.to_thread(house.get, "/readyz"))["ready"]
        assert 'alluvium_refresh_total{outcome="published"}' in await asyncio.to_thread(house.get, "/metrics")
        signal_group(process, signal.SIGKILL)
        process.wait()

    manifest = house.store.manifest(first.artifact, first.manifest_sha256)
    assert (first.parent, first.reason, manifest.parent, manifest.items) == (None, REFRESH, None, 31)
    assert manifest.window.events <= 600  # it may have begun before all were read, but no retry counts
    assert house.store.verify(first.artifact, first.manifest_sha256) == []

    await write_clicks(house, 300, seed=2)
    with house.trainer() as process:
        children = [house.store.manifest(first.artifact)]
        while children[-1].window.events < 900:
            announced = await house.wait_for_announcements(len(children) + 1, process)
            children = [house.store.manifest(each.artifact, each.manifest_sha256) for each in announced]
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 10) == 0

    assert [child.parent for child in children] == [None, *(child.id for child in children[:-1])]
    assert sorted(child.id for child in children) == [child.id for child in children]
    assert sum(child.metrics["new_events"] for child in children) == 900
    spans = children[-1].window.partitions.values()
    assert sum(span.end - span.start for span in spans) == 1800  # each was sent twice
    snapshot = house.store.open(children[-1].id)
    rows, _ = snapshot.covisitation.neighbours(snapshot.vocabulary.rows["i0"])
    assert {snapshot.vocabulary.ids[row] for row in rows} <= {f"i{n}" for n in range(PER_GROUP)}

    letters = await read_topic(house, "dead-letters")
    codes = {letter.key.decode(): (letter.value, dict(letter.headers)["alluvium-error"]) for letter in letters}
    assert len(letters) == len(BAD_ITEMS)
    assert codes == {
        "broken": (b"{", b"not_json"),
        "nameless": (b'{"title": "x"}', b"missing_field"),
        "typed": (b'{"item_id": 3}', b"wrong_type"),
    }
    sources = {dict(letter.headers)["alluvium-source"].decode() for letter in letters}
    read = await read_topic(house, "items")
    assert sources == {f"{bad.topic}-{bad.partition}-{bad.offset}" for bad in read if bad.key.decode() in BAD_ITEMS}


async def test_killed_in_the_middle_of_a_refresh_leaves_no_half_artifact(house: House) -> None:
    """SIGKILL while files are being written: the store lists only whole artifacts, and the next start cleans up."""
    await write_clicks(house, 500, seed=1)
    artifacts = house.directory / "artifacts"
    with house.trainer() as process:
        for _ in range(6000):
            if any(any(built.iterdir()) for built in artifacts.glob(f"{BUILDING}*")):
                break
            assert process.poll() is None, last_lines(house.log)
            await asyncio.sleep(0.005)
        signal_group(process, signal.SIGKILL)
        process.wait()
    assert all(house.store.verify(artifact) == [] for artifact in house.store.list())

    with house.trainer() as process:
        announced = await house.wait_for_announcements(1, process)
        assert house.store.verify(announced[-1].artifact, announced[-1].manifest_sha256) == []
        assert list(artifacts.glob(f"{BUILDING}*")) == []


async def test_only_one_trainer_publishes(house: House) -> None:
    """A second trainer of the same store ends with exit code 1 and says why; the first goes on. Where stores share no
    lock, the trainer that hears another one announce ends with exit code 1.
    """
    await write_clicks(house, 400, seed=1)
    with house.trainer() as process:
        (first,) = await house.wait_for_announcements(1, process)
        with house.trainer(ALLUVIUM_TRAINER__HTTP_PORT="0") as second:
            assert await asyncio.to_thread(second.wait, 60) == 1
        assert "another trainer holds" in house.log.read_text()
        assert process.poll() is None
        foreign = msgspec.structs.replace(first, artifact="20991231T235959Z-abcd")
        async with AIOKafkaProducer(bootstrap_servers=house.settings.kafka.bootstrap_servers) as client:
            topic = house.settings.kafka.topic_prefix + "artifacts"
            await client.send_and_wait(topic, msgspec.json.encode(foreign), key=CHAMPION.encode())
        assert await asyncio.to_thread(process.wait, 60) == 1
    assert "another trainer has announced" in house.log.read_text()
