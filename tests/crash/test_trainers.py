"""Two trainers where there should be one: one publishes, whatever becomes of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from stream.failpoints import VARIABLE
from stream.knowledge.store import ArtifactStore
from stream.shop.broker import Broker, free_port
from stream.shop.children import last_lines, signal_group
from stream.wire.messages import ArtifactAnnouncement
from tests.trainer_kit import House, house_with_topics, write_clicks

pytestmark = pytest.mark.kafka


@pytest.fixture
async def house(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> House:
    return await house_with_topics(kafka_broker, topic_prefix, tmp_path)


async def wait_for_role(house: House, role: str, port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        answer = await asyncio.to_thread(house.get, "/readyz", port)
        if answer and json.loads(answer).get("role") == role and json.loads(answer)["ready"]:
            return
        assert process.poll() is None, last_lines(house.log)
        await asyncio.sleep(0.1)
    raise AssertionError(f"no {role}:\n{last_lines(house.log)}")


def assert_one_line(house: House, announced: list[ArtifactAnnouncement]) -> None:
    """Each announced artifact was made from the one announced before it, and every one is whole."""
    assert [each.parent for each in announced] == [None, *(each.artifact for each in announced[:-1])]
    for each in announced:
        assert house.store.verify(each.artifact, each.manifest_sha256) == []


async def test_the_second_trainer_stands_by_and_takes_over(house: House) -> None:
    """It is ready, says that it stands by, and publishes nothing; when the first is killed it goes on from the first
    one's artifact, and learns as new exactly the events that came since.
    """
    await write_clicks(house, 400, seed=1)
    port = free_port()
    with house.trainer() as first:
        await house.wait_for_announcements(1, first)
        with house.trainer(ALLUVIUM_TRAINER__HTTP_PORT=str(port)) as second:
            await wait_for_role(house, "standby", port, second)
            assert "trainer stands by" in house.log.read_text()
            assert "alluvium_trainer_leads 0.0" in await asyncio.to_thread(house.get, "/metrics", port)
            assert json.loads(await asyncio.to_thread(house.get, "/readyz"))["role"] == "leader"
            before = await house.announced()
            signal_group(first, signal.SIGKILL)
            first.wait()
            await write_clicks(house, 200, seed=2)
            await wait_for_role(house, "leader", port, second)
            announced = await house.wait_for_announcements(len(before) + 1, second)
            while house.store.manifest(announced[-1].artifact).window.events < 600:
                announced = await house.wait_for_announcements(len(announced) + 1, second)
    assert_one_line(house, announced)
    assert sum(house.store.manifest(each.artifact).metrics["new_events"] for each in announced) == 600


async def test_a_frozen_trainer_announces_nothing_when_it_wakes_up(house: House) -> None:
    """Frozen at the last moment before it announces, replaced meanwhile, and woken up: the broker refuses what it
    sends, and it ends with exit code 1. The stores are remote ones, with no lock in common.
    """
    await write_clicks(house, 400, seed=1)
    url = f"dir::file://{house.directory}/artifacts"
    house.store = ArtifactStore(url, house.directory / "cache")
    ports = free_port(), free_port()

    def own(number: int) -> dict[str, str]:
        cache = {"ALLUVIUM_ARTIFACTS__CACHE_DIR": str(house.directory / f"cache{number}")}
        return {"ALLUVIUM_ARTIFACTS__URL": url, **cache, "ALLUVIUM_TRAINER__HTTP_PORT": str(ports[number])}

    with house.trainer(**own(0), **{VARIABLE: "refresh.announce=freeze"}) as first:
        os.waitpid(first.pid, os.WUNTRACED)
        assert (len(house.store.list()), await house.announced()) == (1, [])
        with house.trainer(**own(1)) as second:
            await wait_for_role(house, "leader", ports[1], second)
            announced = await house.wait_for_announcements(1, second)
            signal_group(first, signal.SIGCONT)
            assert await asyncio.to_thread(first.wait, 60) == 1
            await write_clicks(house, 100, seed=2)
            announced = await house.wait_for_announcements(len(announced) + 1, second)
    assert "cannot be announced" in house.log.read_text() or "another trainer leads now" in house.log.read_text()
    assert_one_line(house, announced)
