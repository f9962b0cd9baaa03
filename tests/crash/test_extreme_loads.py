"""More than anybody planned for: items in masses, bursts, one user who is half of all, requests that nobody can answer.

Each story ends as every other: the oracle has read the log, and every event has its list, every user their state. And
the worker is the same process, in the same generation of its group: nothing took it for dead.
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from stream.shop.broker import Broker
from stream.shop.children import end, last_lines, spawn
from tests.alert_kit import SMALL
from tests.crash.oracle import Oracle
from tests.worker_kit import Shop, Worker, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.soak, pytest.mark.timeout(1_800)]

GROUPS, GROUP = 5, 6  # items i0 to i29, clicked within groups
PATIENCE = 900.0


class Crowd(Shop):
    """A shop with one worker and one trainer, in which lists are personal before the story begins."""

    def __init__(self, broker: Broker, prefix: str, directory: Path) -> None:
        super().__init__(broker, prefix, directory, **SMALL, ALLUVIUM_TRAINER__HTTP_PORT="0")
        self.create_topics()
        self.worker: Worker = self.start_worker()
        trainer = ["-m", "stream.cli", "trainer"]
        self.trainer = spawn([sys.executable, *trainer], directory / "trainer.log", environment=self.environment)
        self.dice = random.Random(7)
        self.worker.wait_until_ready()
        self.clicks(2_000, users=200)
        wait_until(lambda: self.worker.metric("artifact_loads_total", outcome="loaded"), "an artifact", 120)
        self.generations = self.times_assigned()

    def clicks(self, count: int, users: int, name: str = "u") -> None:
        """Events of so many users, as fast as Kafka takes them."""
        for _ in range(count):
            user = self.dice.randrange(users)
            self.patient_click(f"{name}{user}", f"i{user % GROUPS * GROUP + self.dice.randrange(GROUP)}")

    def patient_click(self, user: str, item: str) -> None:
        """A click, also where the producer's queue is full."""
        while True:
            try:
                return self.click(user, item)
            except BufferError:
                self.producer.poll(0.2)

    def times_assigned(self) -> int:
        """How often the worker was given partitions."""
        return len(re.findall("partitions assigned", self.worker.log.read_text()))

    def seconds_for(self, count: int, users: int) -> float:
        """How long the worker takes for a backlog of so many events."""
        before = self.worker.metric("events_total", outcome="applied")
        self.clicks(count, users)
        self.flush()
        started, done = time.monotonic(), before + count
        wait_until(lambda: self.worker.metric("events_total", outcome="applied") >= done, "the backlog", PATIENCE)
        return time.monotonic() - started

    def assert_nothing_happened(self) -> None:
        """All is answered and exact, by the same processes, without a rebalance."""
        assert self.producer.flush(300) == 0
        with closing(Oracle(self.servers, self.topic)) as oracle:
            assert not oracle.settle(300).problems
        assert self.worker.process.poll() is None, last_lines(self.worker.log)
        assert self.trainer.poll() is None, last_lines(self.directory / "trainer.log")
        assert self.times_assigned() == self.generations, last_lines(self.worker.log)

    def close(self) -> None:
        end(self.trainer, 10)
        super().close()


@pytest.fixture
def crowd(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> Iterator[Crowd]:
    crowd = Crowd(kafka_broker, topic_prefix, tmp_path)
    yield crowd
    crowd.close()


def made_up(number: int) -> dict[str, object]:
    """An item with words, a category, a brand and a price."""
    return {
        "item_id": f"m{number}",
        "title": f"thing {number % 9_973} of kind {number % 389}",
        "category": ["all", f"c{number % 499}"],
        "brand": f"b{number % 97}",
        "price": 1.0 + number % 500,
    }


def test_a_million_items_come_while_events_are_answered(crowd: Crowd, capsys: pytest.CaptureFixture[str]) -> None:
    """Lists keep coming while worker and trainer read the catalogue; in the end both know every item."""
    count = 1_000_000
    alone = crowd.seconds_for(20_000, 2_000)
    started, backlogs = time.monotonic(), []
    for number in range(count):
        item = made_up(number)
        while True:
            try:
                crowd.send("items", f"m{number}", item)
                break
            except BufferError:
                crowd.producer.poll(0.2)
        if number == count // 2:
            backlogs.append(crowd.seconds_for(20_000, 2_000))
    crowd.flush()
    backlogs.append(crowd.seconds_for(20_000, 2_000))

    def known() -> bool:
        return crowd.worker.metric("cold_items") + crowd.worker.metric("index_items") >= count

    wait_until(known, "the worker to know every item", PATIENCE)
    read = time.monotonic() - started
    memory = crowd.worker.metric("process_resident_memory_bytes") / 2**30
    crowd.assert_nothing_happened()
    with capsys.disabled():
        ratios = [round(alone / seconds, 2) for seconds in backlogs]
        sys.stderr.write(f"\n{count} items known after {read:.0f} s; pace against before: {ratios}; {memory:.2f} GiB\n")


def test_a_user_with_a_million_events(crowd: Crowd) -> None:
    """One robot clicks a million times, some others once in a while: all are answered, and a refresh learns."""
    for number in range(1_000_000):
        crowd.patient_click("robot", f"i{number % (GROUPS * GROUP)}")
        if number % 10_000 == 0:
            crowd.clicks(10, 200)
    crowd.flush()
    sent = crowd.worker.metric("artifact_loads_total", outcome="loaded")
    crowd.assert_nothing_happened()
    crowd.clicks(100, 200)
    wait_until(lambda: crowd.worker.metric("artifact_loads_total", outcome="loaded") > sent, "a refresh", PATIENCE)


def test_one_user_is_half_of_all_traffic(crowd: Crowd) -> None:
    """Their partition has more to do than the others, and nobody is lost."""
    for _ in range(100_000):
        crowd.patient_click("robot", f"i{crowd.dice.randrange(GROUPS * GROUP)}")
        crowd.clicks(1, 5_000)
    crowd.assert_nothing_happened()


def test_a_burst_of_ten_times_the_capacity(crowd: Crowd, capsys: pytest.CaptureFixture[str]) -> None:
    """What a worker answers in half a minute comes within three seconds: the lag grows, and drains."""
    crowd.seconds_for(10_000, 5_000)  # warm
    capacity = 20_000 / crowd.seconds_for(20_000, 5_000)
    started = time.monotonic()
    crowd.clicks(int(30 * capacity), 20_000)
    crowd.flush()
    pace = 30 * capacity / (time.monotonic() - started)
    lag = crowd.worker.metric("consumer_lag_events", topic=crowd.topic("events"))
    crowd.assert_nothing_happened()
    wait_until(lambda: crowd.worker.metric("consumer_lag_events", topic=crowd.topic("events")) == 0, "no lag", PATIENCE)
    with capsys.disabled():
        sys.stderr.write(f"\n{30 * capacity:.0f} events at {pace / capacity:.1f} times the capacity, lag {lag:.0f}\n")


def test_very_many_new_users_at_once(crowd: Crowd) -> None:
    """Two hundred thousand people come who were never seen."""
    for number in range(200_000):
        crowd.patient_click(f"n{number}", f"i{number % (GROUPS * GROUP)}")
    crowd.assert_nothing_happened()
    assert crowd.worker.metric("users") >= 200_000


def test_requests_of_unknown_kinds(crowd: Crowd) -> None:
    """Five hundred a second for half a minute: each is told what is wrong, once, and events are answered beside."""
    started, count = time.monotonic(), 15_000
    for number in range(count):
        crowd.send("requests", f"r{number}", {"request_id": f"r{number}", "kind": "horoscope", "user_id": "u1"})
        if number % 50 == 0:
            crowd.clicks(10, 200)
            time.sleep(max(0.0, started + number / 500 - time.monotonic()))
    crowd.flush()

    def told() -> list[dict[str, object]]:
        return [message for message in crowd.lists() if message["request_id"] is not None]

    wait_until(lambda: len(told()) >= count, "an answer to each", PATIENCE)
    answers = told()
    assert len({answer["request_id"] for answer in answers}) == len(answers) == count
    assert all("error" in answer for answer in answers)
    assert len(crowd.read("dead-letters")) == count
    assert crowd.worker.process.poll() is None
    assert crowd.times_assigned() == crowd.generations
