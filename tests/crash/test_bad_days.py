"""Disks that are full and clocks that jump: refreshes fail and come again, lists go on, ids stay sorted."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.failpoints import VARIABLE
from stream.knowledge.manifest import time_of
from stream.knowledge.store import ArtifactStore
from stream.shop.broker import Broker
from tests import shifted_clock
from tests.artifacts import HOUR, NOON, publish_made
from tests.small_disk import small_disk
from tests.swaps import Versions
from tests.trainer_kit import House, house_with_topics, write_clicks
from tests.worker_kit import Shop, Worker, wait_until

pytestmark = pytest.mark.kafka

DAY = 86_400
SPEECHLESS = ("sh", "-c", 'exec "$0" "$@" > /dev/full 2>&1', *shifted_clock.PROGRAM)  # no line of a log finds space


@pytest.fixture
async def house(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> House:
    house = await house_with_topics(kafka_broker, topic_prefix, tmp_path)
    house.environment["ALLUVIUM_MODEL__TOLERANCE"] = "1"  # the gate has its own tests
    return house


@pytest.fixture
def shop(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(kafka_broker, topic_prefix, tmp_path).create_topics()
    yield shop
    shop.close()


async def test_a_trainer_whose_disk_is_full_and_whose_clock_jumps(house: House) -> None:
    """A refresh that finds the disk full leaves nothing, and comes again without new events. The clock goes back an
    hour, on by two days and back to the truth: each artifact is the child of the one before and sorts behind it, and
    refreshes go on. No line of this could be logged: that disk is full, too.
    """
    clock = house.directory / "clock"
    clock.write_text("0")
    environment = {VARIABLE: "write.index.faiss=disk-full@1", shifted_clock.VARIABLE: str(clock)}
    house.program = SPEECHLESS
    await write_clicks(house, 400, seed=1)
    with house.trainer(**environment) as process:
        announced = await house.wait_for_announcements(1, process)
        assert 'alluvium_refresh_total{outcome="failed"} 1.0' in await asyncio.to_thread(house.get, "/metrics")
        for seed, shift in enumerate((-3_600, 2 * DAY, 0), 2):
            clock.write_text(str(shift))
            await write_clicks(house, 100, seed)
            announced = await house.wait_for_announcements(len(announced) + 1, process)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 10) == 0
    ids = [each.artifact for each in announced]
    assert ids == sorted(set(ids)) and [each.parent for each in announced] == [None, *ids[:-1]]
    assert time_of(ids[-1]) - time_of(ids[0]) > 1_000 * DAY  # behind the one from the day after tomorrow
    assert house.store.list() == ids[::-1]
    assert [house.store.verify(artifact) for artifact in ids] == [[]] * len(ids)


def test_a_worker_whose_clock_jumps_and_whose_log_is_full(shop: Shop) -> None:
    """A day back, two days on and back to the truth while events flow and artifacts change: every event is answered,
    every artifact serves, and a restart under the true clock sends no list again.
    """
    clock = shop.directory / "clock"
    clock.write_text("0")
    versions = Versions(ArtifactStore(shop.environment["ALLUVIUM_ARTIFACTS__URL"], "cache"), 4, items=50)
    shop.environment[shifted_clock.VARIABLE] = str(clock)
    worker = shop.start_worker(program=SPEECHLESS).wait_until_ready()
    for number, shift in enumerate((0, -DAY, DAY, 0)):
        clock.write_text(str(shift))
        versions.announce(shop, versions.ids[number])
        versions.clicks(shop, 100, 100 * number, 20)
        shop.flush()
        answer_all(shop)
        wait_until(lambda number=number: loaded(worker) == number + 1, f"artifact {number}")  # type: ignore[misc]
    assert versions.assert_unmixed(shop.lists()) <= set(versions.ids)
    assert worker.stop() in {0, 120}  # Python's own status where what it had to say last finds no space
    before = len(shop.lists())
    again = shop.start_worker().wait_until_ready()
    shop.click("the last", "item")
    shop.flush()
    answer_all(shop)
    assert len(shop.lists()) == before + 1
    assert again.stop() == 0


def loaded(worker: Worker) -> float:
    return worker.metric("artifact_loads_total", outcome="loaded")


def answer_all(shop: Shop) -> None:
    shop.wait_until_answered(
        ((record.key() or b"").decode(), record.partition(), record.offset()) for record in shop.read("events")
    )


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """On a disk of its own, filled up to ever less room: each publication that does not fit fails and leaves nothing
    behind, the artifact from before is whole, and with room again the next one is.
    """
    place = tmp_path / "disk"
    with small_disk(place, 2):
        store = ArtifactStore(str(place / "artifacts"), tmp_path / "cache")
        first = publish_made(store).id
        for room in range(0, 60_000, 7_000):
            ballast = place / "ballast"
            with ballast.open("wb") as file:
                file.truncate(0)
                free = os.statvfs(place).f_bavail * os.statvfs(place).f_bsize
                file.write(b"x" * max(free - room, 0))
            with pytest.raises(Exception, match=r"(?i)no space|write"):  # each writer has its own
                publish_made(store, created=NOON + HOUR, seed=2)
            assert store.list() == [first] and store.verify(first) == []
            assert store.clean() == []
            ballast.unlink()
        assert store.verify(publish_made(store, created=NOON + HOUR, seed=2).id) == []
