"""A thousand clients at once that are idle, slow or malformed at a live worker's HTTP: scrapes and lists go on."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from pathlib import Path

import pytest

from stream.http import MOST_CONNECTIONS
from stream.shop.broker import Broker
from tests.worker_kit import Shop, Worker, wait_until

pytestmark = pytest.mark.kafka

CROWD = 1_000
BEGINNINGS = (
    b"",
    b"GET /metrics HTTP/1.1\r\nX: ",
    b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n",
    b"\x16\x03\x01\xff\x00" * 20 + b"\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 3_000,
)


async def test_scrapes_lists_and_the_stop_go_on(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> None:
    """Metrics are answered in full and each click gets its list; the worker keeps its file descriptors for Kafka, says
    nothing about the crowd, and ends in order while it stands there.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    shop = Shop(kafka_broker, topic_prefix, tmp_path).create_topics()
    try:
        worker = shop.start_worker().wait_until_ready()
        before = worker.metric("process_open_fds")
        async with asyncio.TaskGroup() as crowd:
            arrived = asyncio.Semaphore(0)
            clients = [crowd.create_task(client(worker.port, number, arrived)) for number in range(CROWD)]
            for _ in clients:
                await arrived.acquire()
            status = await asyncio.to_thread(as_ever, shop, worker, before)
            for each in clients:
                each.cancel()
        assert status == 0
    finally:
        shop.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    log = worker.log.read_text("utf-8")
    assert "Traceback" not in log
    assert " ERROR " not in log


def as_ever(shop: Shop, worker: Worker, descriptors_before: float) -> int:
    """Does what is done with a worker all day, and stops it; its exit status."""
    users = {f"u{number}" for number in range(5)}
    for user in users:
        shop.click(user, "hat")
    shop.flush()
    wait_until(lambda: {message["user_id"] for message in shop.lists()} == users, "their lists")
    wait_until(lambda: worker.metric("events_total") == len(users), "metrics that count the clicks")
    assert worker.ready["ready"]
    assert worker.metric("process_open_fds") < descriptors_before + 1.5 * MOST_CONNECTIONS
    return worker.stop()


async def client(port: int, number: int, arrived: asyncio.Semaphore) -> None:
    """Begins in its own way and sends a byte now and then, as long as it is let."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    finally:
        arrived.release()
    with contextlib.suppress(ConnectionError):
        writer.write(BEGINNINGS[number % len(BEGINNINGS)])
        while not reader.at_eof():
            await asyncio.sleep(0.5)
            writer.write(b"a" if number % 2 else b"")
            await writer.drain()
    await asyncio.get_running_loop().create_future()  # goes when it is told to
