"""How fast `alluvium replay` is beside librdkafka sending the very same messages, already made, from memory.

    python tests/bench/replay.py yoochoose/ader_yoochoose_stream.csv.gz yoochoose 500000

Both send to an embedded broker, idempotently and with acks=all, to the same partitions, in turn. The replay also reads,
checks and encodes its file; `command` includes the start of its process. `..._cpu` is processor time in microseconds an
event, of whole processes: what a busy machine leaves as it is.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from stream.shop.broker import Broker, running_broker

PARTITIONS = 8
ROUNDS = 3

Messages = list[tuple[bytes, bytes]]


def command(broker: Broker, prefix: str, folder: Path, *arguments: str) -> str:
    """What a command of ours prints."""
    environment = os.environ | {
        "ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap_servers,
        "ALLUVIUM_KAFKA__TOPIC_PREFIX": prefix,
        "ALLUVIUM_KAFKA__PARTITIONS": str(PARTITIONS),
    }
    line = [sys.executable, "-m", "stream.cli", *arguments]
    return subprocess.run(line, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout


def read(broker: Broker, topic: str) -> Messages:
    """All messages of a topic."""
    consumer = Consumer(
        {"bootstrap.servers": broker.bootstrap_servers, "group.id": "nobody", "enable.partition.eof": True}
    )
    consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in range(PARTITIONS)])
    found: Messages = []
    ended = 0
    while ended < PARTITIONS:
        for message in consumer.consume(10_000, 1.0):
            if message.error():
                ended += 1
            else:
                found.append((message.key(), message.value()))
    consumer.close()
    return found


def send(broker: Broker, topic: str, messages: Messages) -> float:
    """Seconds that librdkafka takes for them."""
    producer = Producer(
        {"bootstrap.servers": broker.bootstrap_servers, "partitioner": "murmur2_random", "acks": "all",
         "enable.idempotence": True, "queue.buffering.max.messages": 1_000_000, "batch.num.messages": 10_000}
    )  # fmt: skip
    producer.list_topics(topic, 10)
    begun = time.monotonic()
    for number, (key, value) in enumerate(messages):
        producer.produce(topic, value, key)
        if number % 10_000 == 0:
            producer.poll(0)
            while len(producer) > 800_000:
                producer.poll(0.01)
    assert producer.flush(120) == 0
    return time.monotonic() - begun


def children_seconds() -> float:
    """Processor time of the processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def spread(figures: Sequence[float]) -> dict[str, float]:
    """Least, median, most."""
    return {"min": min(figures), "median": statistics.median(figures), "max": max(figures)}


def main() -> None:
    """Prints one JSON document."""
    file, dataset, limit = str(Path(sys.argv[1]).resolve()), sys.argv[2], sys.argv[3]
    names = ("replay", "command", "librdkafka", "ratio", "command_cpu", "librdkafka_cpu")
    rates: dict[str, list[float]] = {name: [] for name in names}
    messages: Messages = []
    with (
        tempfile.TemporaryDirectory(prefix="replay-") as directory,
        running_broker(Path(directory) / "kafka") as broker,
    ):
        for turn in range(ROUNDS):
            ours, theirs = f"ours{turn}.", f"theirs{turn}."
            for prefix in (ours, theirs):
                command(broker, prefix, Path(directory), "topics")
            begun, used = time.monotonic(), children_seconds()
            said = json.loads(
                command(broker, ours, Path(directory), "replay", file, "--dataset", dataset, "--limit", limit, "--json")
            )
            rates["command"].append(said["sent"] / (time.monotonic() - begun))
            rates["command_cpu"].append((children_seconds() - used) * 1e6 / said["sent"])
            rates["replay"].append(said["events_per_second"])
            messages = messages or read(broker, ours + "events")
            used = time.process_time()
            rates["librdkafka"].append(len(messages) / send(broker, theirs + "events", messages))
            rates["librdkafka_cpu"].append((time.process_time() - used) * 1e6 / len(messages))
            rates["ratio"].append(rates["replay"][-1] / rates["librdkafka"][-1])
    size = statistics.mean(len(key) + len(value) for key, value in messages)
    result = {"events": len(messages), "bytes": size, **{name: spread(found) for name, found in rates.items()}}
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(result)).decode() + "\n")


if __name__ == "__main__":
    main()
