"""A flood of bad records through a live worker and trainer, and what became of each: `python -m tests.hostile.run`.

What is checked is read from the topics by librdkafka and by the marks that records carry, not asked of the worker.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from confluent_kafka import Message, Producer

from stream.shop.broker import Broker, free_port, running_broker
from tests.crash.reading import Topic
from tests.hostile.vandal import BAD, GOOD, MARK, Vandal, Vandalised
from tests.worker_kit import PARTITIONS, Shop, wait_until

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
TOPICS = ("events", "requests", "items")
BLOCK = 500  # records of one codec after another
REPLY = "alluvium-reply-key"
Place = tuple[str, int, int]


class Sample(NamedTuple):
    """What the processes hold and what is done, at a moment (seconds)."""

    at: float
    worker_mib: float
    trainer_mib: float
    done: int


class Flood(NamedTuple):
    """What came of it."""

    records: int
    seconds: float
    samples: list[Sample]
    counts: dict[str, int]

    @property
    def longest_standstill(self) -> float:
        """Seconds for which nothing got done while something waited, as seen twice a second."""
        longest, since, before = 0.0, self.samples[0].at, -1
        for sample in self.samples:
            if sample.done != before:
                longest, since, before = max(longest, sample.at - since), sample.at, sample.done
        return longest


def send(shop: Shop, counts: dict[str, int], seed: int) -> Counter[str]:
    """Sends so many records to each topic, packed in every way that Kafka knows; how many of which mark."""
    producers = [
        Producer({"bootstrap.servers": shop.servers, "enable.idempotence": True, "compression.type": codec,
                  "queue.buffering.max.kbytes": 65_536, "message.max.bytes": 1_000_000, "log_level": 2})
        for codec in CODECS
    ]  # fmt: skip
    sent: Counter[str] = Counter()
    for topic, count in counts.items():
        vandal, random = Vandal(topic, seed), Random(seed)
        for number in range(count):
            producer = producers[number // BLOCK % len(producers)]
            partition = random.randrange(PARTITIONS)
            for record in vandal.records():
                _produce(producer, shop.topic(topic), partition, record)
                sent[f"{topic} {(record.mark or b'').decode()}"] += 1
    for producer in producers:
        assert producer.flush(300) == 0
    return sent


def _produce(producer: Producer, topic: str, partition: int, record: Vandalised) -> None:
    when = {} if record.timestamp is None else {"timestamp": record.timestamp}
    while True:
        try:
            producer.produce(topic, record.value, record.key, partition, headers=record.headers, **when)
            producer.poll(0)
            return
        except BufferError:
            producer.poll(0.1)


@contextmanager
def trainer(shop: Shop) -> Iterator[subprocess.Popen[bytes]]:
    """A trainer that reads, and never has enough events to learn."""
    environment = {**shop.environment, "ALLUVIUM_TRAINER__HTTP_PORT": str(free_port()),
                   "ALLUVIUM_TRAINER__MIN_EVENTS": str(10**9)}  # fmt: skip
    with (shop.directory / "trainer.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "stream.cli", "trainer"], env=environment, cwd=shop.directory, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def flood(shop: Shop, counts: dict[str, int], seed: int = 1, patience: float = 3_600) -> Flood:
    """Sends while worker and trainer run, waits until all is done, and checks everything."""
    worker = shop.start_worker().wait_until_ready()
    with trainer(shop) as training:
        started = time.monotonic()
        sent = send(shop, counts, seed)
        expected = sum(count for name, count in sent.items() if name.endswith("bad"))
        samples: list[Sample] = []
        topic, letters = Topic(shop.servers, shop.topic("dead-letters")), 0

        def all_done() -> bool:
            assert worker.process.poll() is None, worker.log.read_text()[-5_000:]
            assert training.poll() is None, (shop.directory / "trainer.log").read_text()[-5_000:]
            nonlocal letters
            letters += sum(1 for _letter in topic.read_to(topic.ends()))
            events = worker.metric("events_total")
            answers = worker.metric("recommendations_total")
            samples.append(
                Sample(time.monotonic() - started, _mib(worker.process.pid), _mib(training.pid),
                       int(letters + events + answers))
            )  # fmt: skip
            time.sleep(0.4)
            return letters >= expected and events >= _ends(shop, "events")

        wait_until(all_done, "every record to be done with", patience)
        topic.close()
        seconds = time.monotonic() - started
        found = check(shop, worker.metric("new_item_to_retrievable_seconds_count"))
        assert found == {**found, **sent}, (found, sent)
    assert worker.stop() == 0
    return Flood(sum(sent.values()), seconds, samples, found)


def check(shop: Shop, items_seen: float) -> dict[str, int]:
    """Raises AssertionError unless everything came out exactly; how many records had which mark."""
    letters = _letters(shop)
    marks: Counter[str] = Counter()
    states = _states(shop)
    for topic in TOPICS:
        applied, repeated, dead, total = Counter[int](), Counter[int](), Counter[int](), Counter[int]()
        for record in shop.read(topic):
            mark = _mark(record)
            if mark is None:  # a request that the worker has forwarded
                assert topic == "requests"
                assert REPLY in dict(record.headers())
                continue
            partition = record.partition()
            marks[f"{topic} {mark.decode()}"] += 1
            total[partition] += 1
            letter = letters.pop((shop.topic(topic), partition, record.offset()), None)
            if mark == BAD:
                assert letter == _digest(record, record.headers()), (record.value(), record.headers())
                dead[partition] += 1
            else:
                assert letter is None, record.value()
                (applied if mark == GOOD else repeated)[partition] += 1
        if topic == "events":
            assert applied == states  # in = applied + duplicate + dead, in each partition
        assert total == applied + repeated + dead
    assert not letters, list(letters)[:5]
    answered = Counter(
        message["request_id"] for message in shop.lists() if message["request_id"] and "items" in message
    )
    asked = [json.loads(record.value())["request_id"] for record in shop.read("requests") if _mark(record) == GOOD]
    assert {request: answered[request] for request in asked} == dict.fromkeys(asked, 1)
    assert items_seen == marks["items good"]
    return dict(marks)


def _letters(shop: Shop) -> dict[Place, bytes]:
    """The digest of what each letter holds by its source; each source once."""
    found: dict[Place, bytes] = {}
    for record in shop.read("dead-letters"):
        theirs, ours = record.headers()[:-3], record.headers()[-3:]
        assert [name for name, _ in ours] == ["alluvium-error", "alluvium-detail", "alluvium-source"]
        topic, partition, offset = ours[2][1].decode().rsplit("-", 2)
        place = (topic, int(partition), int(offset))
        assert place not in found, place
        found[place] = _digest(record, theirs)
    return found


def _digest(record: Message, headers: Any) -> bytes:  # noqa: ANN401
    return hashlib.blake2b(repr((record.key(), record.value(), headers)).encode(), digest_size=8).digest()


def _mark(record: Message) -> bytes | None:
    headers = record.headers() or [("", None)]
    mark: bytes | None = headers[0][1] if headers[0][0] == MARK else None
    return mark


def _states(shop: Shop) -> Counter[int]:
    """How many events were applied on each partition, by the changelog."""
    applied: Counter[int] = Counter()
    for line in shop.alluvium("state").stdout.splitlines():
        state = json.loads(line)
        applied[state["partition"]] += state["events_applied"]
    return applied


def _ends(shop: Shop, topic: str) -> int:
    return sum(end for _first, end in shop.watermarks(topic))


def _mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def report(result: Flood) -> str:
    """The rate, the memory and the longest standstill, for people."""
    first, last = result.samples[0], result.samples[-1]
    half = result.samples[len(result.samples) // 2]
    return "\n".join(
        [
            f"{result.records:,} records in {result.seconds:.0f} s: {result.records / result.seconds:,.0f} a second",
            ", ".join(f"{name}: {count:,}" for name, count in sorted(result.counts.items())),
            f"worker {first.worker_mib:.0f} → {half.worker_mib:.0f} → {last.worker_mib:.0f} MiB, "
            f"trainer {first.trainer_mib:.0f} → {half.trainer_mib:.0f} → {last.trainer_mib:.0f} MiB",
            f"longest standstill seen: {result.longest_standstill:.1f} s",
        ]
    )


def split(records: int) -> dict[str, int]:
    """So many records over the three topics."""
    return {"events": records - 2 * (records // 3), "requests": records // 3, "items": records // 3}


def main() -> None:
    """Runs it on a broker of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, running_broker(Path(directory, "kafka")) as broker:
        print(report(run(broker, Path(directory), split(arguments.records), arguments.seed)))  # noqa: T201


def run(broker: Broker, directory: Path, counts: dict[str, int], seed: int = 1, prefix: str = "hostile.") -> Flood:
    """`flood` on a broker, from the making of topics on."""
    shop = Shop(broker, prefix, directory).create_topics()
    try:
        return flood(shop, counts, seed)
    finally:
        shop.close()


if __name__ == "__main__":
    main()
