"""A trainer is killed at each step of a refresh: nothing half is ever visible, and the next one goes on from there."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from stream.failpoints import REFRESH, VARIABLE
from stream.knowledge.directories import BUILDING, DELETING
from stream.shop.broker import Broker
from stream.wire.messages import ArtifactAnnouncement
from tests.trainer_kit import House, house_with_topics, write_clicks

pytestmark = pytest.mark.kafka

KEPT, FIRST, MORE = 300, 900, 150  # of the window, before the first artifact, and before each death
TELLING = ("refresh.fit", "announce.commit")  # of the others, most are killed without Kafka in test_publishing
LOCAL = tuple(name for name in REFRESH if name != "publish.upload")


@pytest.fixture
async def house(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> House:
    house = await house_with_topics(kafka_broker, topic_prefix, tmp_path)
    house.environment |= {
        "ALLUVIUM_TRAINER__WINDOW_EVENTS": str(KEPT),
        "ALLUVIUM_MODEL__TOLERANCE": "1",  # the gate has its own tests
        "ALLUVIUM_ARTIFACTS__KEEP": "1",
    }
    return house


async def killed_at(house: House, name: str) -> None:
    """A trainer's life from its start to that step."""
    with house.trainer(**{VARIABLE: f"{name}=kill"}) as process:
        assert process.wait(120) == -signal.SIGKILL, name


def assert_whole(house: House, announced: list[ArtifactAnnouncement], after: str) -> None:
    """Everything listed can be served from, the announced artifact among it, and each was made from the one before."""
    listed = house.store.list()
    assert [house.store.verify(artifact) for artifact in listed] == [[]] * len(listed), after
    if announced:
        assert announced[-1].artifact in listed, after


def read_until(house: House, announced: ArtifactAnnouncement) -> int:
    """How many records of `events` the trainer had read for an artifact."""
    spans = house.store.manifest(announced.artifact, announced.manifest_sha256).window.partitions.values()
    return sum(span.end for span in spans)


async def go_through(house: House, names: tuple[str, ...]) -> None:
    """The whole story: a first artifact, one death after the other, and a last trainer that goes on."""
    await write_clicks(house, FIRST, seed=1)
    with house.trainer() as process:
        announced = await house.wait_for_announcements(1, process)
        while read_until(house, announced[-1]) < 2 * FIRST:  # each is sent twice
            announced = await house.wait_for_announcements(len(announced) + 1, process)
    for number, name in enumerate(names, 2):
        await write_clicks(house, MORE, seed=number)
        await killed_at(house, name)
        announced = await house.announced()
        assert_whole(house, announced, name)
    await write_clicks(house, MORE, seed=len(names) + 2)
    with house.trainer() as process:
        announced = await house.wait_for_announcements(len(announced) + 1, process)
    assert_whole(house, announced, "the last")
    assert [each.parent for each in announced[1:]] == [each.artifact for each in announced[:-1]]
    left = [path.name for path in (house.directory / "artifacts").iterdir()]
    assert not [name for name in left if name.startswith((BUILDING, DELETING))]


def assert_only_the_window_was_read(house: House, lives: int) -> None:
    """Each life but the first began with the window of its parent and skipped what stood before it."""
    lines = re.findall(r"events to read known=(\d+) new=(\d+) before=(\d+)", house.log.read_text())
    assert len(lines) == lives
    for known, new, before in (map(int, line) for line in lines[1:]):
        assert known <= 2 * KEPT and before >= 2 * (FIRST - KEPT), (known, new, before)


@pytest.mark.parametrize("names", [TELLING, pytest.param(LOCAL, marks=pytest.mark.soak)], ids=["telling", "all"])
@pytest.mark.timeout(1_800)
async def test_killed_at_a_step_of_a_refresh(house: House, names: tuple[str, ...]) -> None:
    """After each death only whole artifacts are listed and only whole ones announced; the next trainer reads its
    parent's window and what came after it, no more; in the end each announced artifact is the child of the one before
    it, and nothing is left of the dead.
    """
    await go_through(house, names)
    assert_only_the_window_was_read(house, lives=len(names) + 2)
