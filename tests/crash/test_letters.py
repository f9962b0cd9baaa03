"""Dead letters while their writers are taken for dead, replaced, and come back: each stands once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from aiokafka.structs import ConsumerRecord
from confluent_kafka import Producer

from stream.failpoints import VARIABLE
from stream.kafka import COMMITTED, read_topic
from stream.letter_writer import LetterWriter
from stream.logs import Log
from stream.settings import KafkaSettings
from stream.shop.broker import Broker
from stream.wire.dead_letters import source_of
from stream.wire.decoding import Rejection
from stream.worker.dead_letters import Letters, read_standing
from tests.records import record
from tests.worker_kit import Shop, dead_sources, wait_until

pytestmark = pytest.mark.kafka
PARTITION = 1


@pytest.fixture
def kafka(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> KafkaSettings:
    """A shop's topics."""
    Shop(kafka_broker, topic_prefix, tmp_path).create_topics().close()
    return KafkaSettings(bootstrap_servers=kafka_broker.bootstrap_servers, topic_prefix=topic_prefix)


def bad(kafka: KafkaSettings, *offsets: int) -> list[tuple[ConsumerRecord, Rejection]]:
    """Bad records of `events`."""
    topic, why = kafka.topic_prefix + "events", Rejection("not_json", "")
    return [(record(offset, b"{", None, PARTITION, topic), why) for offset in offsets]


def writer(kafka: KafkaSettings) -> LetterWriter:
    """One of several that believe that the partition is theirs, in a group that has committed nothing."""
    standing = partial(read_standing, kafka, PARTITION, lambda _: None)
    return LetterWriter(kafka, kafka.topic_prefix + "letters", 1 << 20, standing, Log("alluvium.worker"))


def offsets(written: Sequence[tuple[ConsumerRecord, Rejection]]) -> list[int]:
    return [one.offset for one, _rejection in written]


async def letters(kafka: KafkaSettings) -> list[int]:
    """The sources of the letters that stand in the topic."""
    topic = kafka.topic_prefix + "dead-letters"
    return [
        source[2]
        async for records in read_topic(kafka, topic, isolation=COMMITTED)
        for one in records
        if (source := source_of(one))
    ]


def test_writers_take_turns_and_write_each_letter_once(kafka: KafkaSettings) -> None:
    """Who was replaced in the middle of a transaction, or beside it, finds what others have written and adds the rest;
    nobody ends for it.
    """

    async def story() -> None:
        first, second = writer(kafka), writer(kafka)
        assert offsets(await first.write(bad(kafka, 0, 1))) == [0, 1]
        client = first._client
        assert client is not None
        await client.begin_transaction()  # held up here, with a letter on its way
        await client.send_and_wait(kafka.topic_prefix + "dead-letters", b"half", partition=PARTITION)
        assert offsets(await second.write(bad(kafka, 0, 1, 2))) == [2]
        await asyncio.wait_for(first.close(), 20)
        assert offsets(await first.write(bad(kafka, 2, 3))) == [3]
        assert offsets(await second.write(bad(kafka, 3, 4))) == [4]  # finds out as it writes
        assert offsets(await first.write(bad(kafka, 4))) == []
        await asyncio.gather(first.close(), second.close())
        assert await letters(kafka) == [0, 1, 2, 3, 4]

    asyncio.run(story())


def test_a_writer_waits_for_what_others_have_not_settled_before_it_looks(kafka: KafkaSettings) -> None:
    """Behind an open transaction of somebody else, a trainer's, readers of committed records see nothing: a letter that
    stands there is not written again.
    """

    async def story() -> None:
        first, second = writer(kafka), writer(kafka)
        assert offsets(await first.write(bad(kafka, 0))) == [0]
        other = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": f"{kafka.topic_prefix}t"})
        await asyncio.to_thread(other.init_transactions, 60)
        other.begin_transaction()
        other.produce(kafka.topic_prefix + "dead-letters", b"of somebody else", partition=PARTITION)
        await asyncio.to_thread(other.flush, 60)
        assert offsets(await first.write(bad(kafka, 1))) == [1]
        assert await letters(kafka) == [0]
        again = asyncio.create_task(second.write(bad(kafka, 0, 1)))
        await asyncio.sleep(1)
        await asyncio.to_thread(other.commit_transaction, 60)
        assert await again == []
        await asyncio.gather(first.close(), second.close())
        assert await letters(kafka) == [0, 1]

    asyncio.run(story())


def test_a_tail_of_aborted_letters_is_read_to_its_end(kafka: KafkaSettings) -> None:
    """Letters of a transaction that came to nothing are no letters, and do not keep a reader waiting."""

    async def story() -> None:
        first, second = writer(kafka), writer(kafka)
        await first.write(bad(kafka, 0))
        client = first._client
        assert client is not None
        await client.begin_transaction()
        for number in range(3):
            await client.send_and_wait(kafka.topic_prefix + "dead-letters", b"%d" % number, partition=PARTITION)
        await client.abort_transaction()
        await first.close()
        assert offsets(await second.write(bad(kafka, 0, 1))) == [1]
        await second.close()
        assert await letters(kafka) == [0, 1]

    asyncio.run(story())


def test_letters_of_many_partitions_and_any_size(kafka: KafkaSettings) -> None:
    """A worker's letters stand each on the partition of its record, in order; large ones get batches of their own."""

    async def story() -> None:
        topic, why = kafka.topic_prefix + "events", Rejection("too_large", "")
        records = [
            (record(offset, bytes(900_000 if offset % 7 == 0 else 50), b"k", number, topic), why)
            for number in range(4)
            for offset in range(30)
        ]
        desk = Letters(kafka, "g", 4 << 20, lambda _: None)
        await desk.check()
        await desk.write(records[:60])
        await desk.close()
        await desk.write(records)
        await desk.close()
        found: dict[int, list[int]] = {}
        async for batch in read_topic(kafka, kafka.topic_prefix + "dead-letters", isolation=COMMITTED):
            for one in batch:
                source = source_of(one)
                assert source is not None
                assert source[1] == one.partition
                found.setdefault(one.partition, []).append(source[2])
        assert found == {number: list(range(30)) for number in range(4)}

    asyncio.run(story())


def test_a_worker_frozen_between_letter_and_commit_writes_nothing_twice(
    kafka_broker: Broker, topic_prefix: str, tmp_path: Path
) -> None:
    """It stops with its letters written and their transaction open; another one takes over; it wakes up and goes on.

    Both live, each bad record has its letter once, and nobody who reads committed records saw another one.
    """
    shop = Shop(kafka_broker, topic_prefix, tmp_path).create_topics()
    shop.environment[VARIABLE] = "letters.commit=freeze@1"
    frozen = shop.start_worker().wait_until_ready()
    del shop.environment[VARIABLE]
    for number in range(8):
        shop.send("events", f"u{number}", b"{not json")
        shop.click(f"u{number}", "i1")
    shop.flush()

    def stopped() -> bool:
        return Path(f"/proc/{frozen.process.pid}/stat").read_text().rsplit(") ", 1)[1][0] == "T"

    wait_until(stopped, "the worker to stand still", 30)
    other = shop.start_worker()
    wait_until(lambda: len(dead_sources(shop.read("dead-letters"))) == 8, "all letters of the other one", 60)
    frozen.process.send_signal(signal.SIGCONT)
    wait_until(lambda: frozen.ready["ready"] and other.ready["ready"], "both to work", 60)
    shop.send("events", "u0", b"{not json either")
    shop.flush()
    wait_until(lambda: len(dead_sources(shop.read("dead-letters"))) == 9, "the last letter", 60)
    assert max(dead_sources(shop.read("dead-letters")).values()) == 1
    assert (frozen.stop(), other.stop()) == (0, 0)
    shop.close()
