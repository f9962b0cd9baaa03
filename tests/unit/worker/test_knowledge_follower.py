"""What a worker does with what is announced: the good serves, the bad is refused, counted and said."""

from __future__ import annotations

import asyncio
import errno
import os
import uuid
from collections.abc import Callable
from itertools import product
from pathlib import Path

import msgspec
import pytest
from aiokafka.structs import ConsumerRecord

from stream.knowledge.store import ArtifactStore
from stream.metrics import WorkerMetrics
from stream.settings import ArtifactSettings, Settings
from stream.wire.messages import ArtifactAnnouncement
from stream.worker import knowledge_follower
from stream.worker.knowledge import Knowledge
from stream.worker.knowledge_follower import ArtifactsFollower
from tests.artifacts import HOUR, NOON, publish_made
from tests.damage import DAMAGES


class House:
    """A follower without Kafka: what would be read from the topic is handed to it."""

    def __init__(self, directory: Path, url: str = "") -> None:
        url = url or str(directory / "artifacts")
        settings = Settings(artifacts=ArtifactSettings(url, str(directory / "cache")))
        self.store = ArtifactStore(settings.artifacts.url, settings.artifacts.cache_dir)
        self.metrics = WorkerMetrics()
        self.knowledge = Knowledge(settings, lambda: 0.0)
        self.follower = ArtifactsFollower(settings, self.knowledge, self.metrics)
        self.first = publish_made(self.store)
        self.second = publish_made(self.store, created=NOON + HOUR, seed=2, parent=self.first.id)
        self.pins = {each.id: self.store.manifest_sha256(each.id) for each in (self.first, self.second)}
        self._offset = 0

    def announce(self, artifact: str, parent: str | None = None, pinned: str = "") -> None:
        value = msgspec.json.encode(ArtifactAnnouncement(artifact, parent, "", pinned or self.pins[artifact], ""))
        self._offset += 1
        self.follower._apply(ConsumerRecord("t", 0, self._offset, 0, 0, b"champion", value, None, 0, 0, ()))

    async def until(self, true: Callable[[], object]) -> None:
        """Runs the follower until something is so."""
        self.follower.follower.caught_up.set()
        running = asyncio.create_task(self.follower.run())
        try:
            async with asyncio.timeout(60):
                while not true():
                    await asyncio.sleep(0.005)
                    assert not running.done(), running.result()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    @property
    def serving(self) -> str | None:
        snapshot = self.knowledge.serving.snapshot
        return snapshot.artifact_id if snapshot else None

    def counted(self, outcome: str) -> float:
        return float(self.metrics.artifact_loads.labels(outcome)._value.get())


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


UNNOTICED = {("one bit of manifest.json", False)}  # what is announced then is what stands there


@pytest.mark.parametrize(
    ("damage", "pinned"), [case for case in product(DAMAGES, (True, False)) if case not in UNNOTICED]
)
async def test_a_bad_artifact_is_refused_and_the_one_before_serves_on(house: House, damage: str, pinned: bool) -> None:
    """However it went bad, before its announcement pinned it or after: refused, counted, said; nothing else changes."""
    house.announce(house.first.id)
    await house.until(lambda: house.counted("loaded") == 1)
    serving = house.knowledge.serving
    DAMAGES[damage](house.store, house.second)
    pin = house.pins[house.second.id]
    if not pinned and damage != "no manifest.json":
        pin = house.store.manifest_sha256(house.second.id)
    house.announce(house.second.id, house.first.id, pin)
    await house.until(lambda: house.counted("refused") == 1 and house.follower.facts["refused"])
    assert house.knowledge.serving is serving
    assert (house.counted("loaded"), house.counted("fallback")) == (1, 0)
    assert house.follower.facts["announced"] == house.second.id


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_worker_that_starts_with_a_bad_artifact_serves_its_parent(house: House, damage: str) -> None:
    """Its parent, not what is newest: that may have been rolled back from. Said, and counted as `fallback`."""
    publish_made(house.store, created=NOON + 2 * HOUR, seed=3)
    DAMAGES[damage](house.store, house.second)
    house.announce(house.second.id, house.first.id)
    await house.until(house.follower.settled.is_set)
    assert house.serving == house.first.id
    assert (house.counted("loaded"), house.counted("refused"), house.counted("fallback")) == (0, 1, 1)
    assert house.follower.facts["announced"] == house.second.id and house.follower.facts["refused"]


async def test_an_announced_artifact_that_does_not_exist_is_refused(house: House) -> None:
    """So is one whose announced name is a path."""
    for number, name in enumerate(("20991231T000000Z-0000", "../../etc"), 1):
        house.announce(name, None, "0" * 64)
        await house.until(lambda number=number: house.counted("refused") == number)  # type: ignore[misc]
        await house.until(lambda: house.counted("fallback") == 1)
        assert house.serving == house.second.id  # the newest valid one: nothing of a parent is known


async def test_where_no_artifact_is_valid_the_worker_serves_without(house: House) -> None:
    """Two bad ones, nothing else: it settles, serves what is popular, and says why."""
    for manifest in (house.first, house.second):
        DAMAGES["no index.faiss"](house.store, manifest)
    house.announce(house.second.id, house.first.id)
    await house.until(house.follower.settled.is_set)
    assert house.serving is None and "index.faiss" in str(house.follower.facts["refused"])


async def test_what_was_refused_is_tried_again(house: House, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A store that was away when an artifact was announced, and comes back: it serves, without a new announcement."""
    monkeypatch.setattr(knowledge_follower, "RETRY_SECONDS", 0.01)
    (tmp_path / "artifacts").rename(tmp_path / "away")
    house.announce(house.second.id, house.first.id)
    await house.until(lambda: house.counted("refused") >= 2)
    assert house.serving is None
    (tmp_path / "away").rename(tmp_path / "artifacts")
    await house.until(lambda: house.follower.facts["refused"] is None)
    assert house.serving == house.second.id


async def test_a_cache_without_space_refuses_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A remote artifact without space for its copy: refused, nothing half left, and with space again it serves."""
    house = House(tmp_path, f"memory://{uuid.uuid4().hex}")
    monkeypatch.setattr(knowledge_follower, "RETRY_SECONDS", 0.01)

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(type(house.store._files), "get_file", full)
        house.announce(house.first.id)
        await house.until(lambda: house.counted("refused") >= 2)
        async with asyncio.timeout(60):  # one more try may be under way in its thread
            while list((tmp_path / "cache").iterdir()):
                await asyncio.sleep(0.01)
    await house.until(lambda: house.counted("loaded") == 1)
    assert house.serving == house.first.id


async def test_the_last_announcement_counts(house: House) -> None:
    """Announced bad, then good again (a rollback): the good one serves and nothing is refused any more."""
    house.announce(house.first.id)
    await house.until(lambda: house.counted("loaded") == 1)
    DAMAGES["no index.faiss"](house.store, house.second)
    house.announce(house.second.id, house.first.id)
    await house.until(lambda: house.follower.facts["refused"])
    house.announce(house.first.id)
    await house.until(lambda: house.follower.facts["refused"] is None)
    assert house.serving == house.first.id
