"""The trainer on a real broker: first artifact, child after a kill, nothing half, bad items."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from stream.announcements import CHAMPION, REFRESH
from stream.knowledge.directories import BUILDING
from stream.shop.broker import Broker
from stream.shop.children import last_lines, signal_group
from tests.records import read_topic
from tests.trainer_kit import PER_GROUP, House, house_with_topics, write_clicks, write_items

pytestmark = pytest.mark.kafka


@pytest.fixture
async def house(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> House:
    return await house_with_topics(kafka_broker, topic_prefix, tmp_path)


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

    letters = await read_topic(*house.topic("dead-letters"))
    codes = {letter.key.decode(): (letter.value, dict(letter.headers)["alluvium-error"]) for letter in letters}
    assert len(letters) == len(BAD_ITEMS)
    assert codes == {
        "broken": (b"{", b"not_json"),
        "nameless": (b'{"title": "x"}', b"missing_field"),
        "typed": (b'{"item_id": 3}', b"wrong_type"),
    }
    sources = {dict(letter.headers)["alluvium-source"].decode() for letter in letters}
    read = await read_topic(*house.topic("items"))
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


async def test_a_trainer_that_hears_another_one_announce_ends(house: House) -> None:
    """Whoever announces a refresh without leading (a release from before there was a leader), one of the two ends with
    exit code 1 and says why.
    """
    await write_clicks(house, 400, seed=1)
    with house.trainer() as process:
        (first,) = await house.wait_for_announcements(1, process)
        foreign = msgspec.structs.replace(first, artifact="20991231T235959Z-abcd")
        async with AIOKafkaProducer(bootstrap_servers=house.settings.kafka.bootstrap_servers) as client:
            topic = house.settings.kafka.topic_prefix + "artifacts"
            await client.send_and_wait(topic, msgspec.json.encode(foreign), key=CHAMPION.encode())
        assert await asyncio.to_thread(process.wait, 60) == 1
    assert "another trainer has announced" in house.log.read_text()
