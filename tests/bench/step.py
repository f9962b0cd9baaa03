"""What the worker's step costs without Kafka: microseconds of one thread's processor time for each event.

    python tests/bench/step.py yoochoose/ader_yoochoose_stream.csv.gz yoochoose
    python tests/bench/step.py yoochoose/ader_yoochoose_stream.csv.gz yoochoose --artifacts FOLDER --size 1024

Feeds the real `MicroBatch` the log of `alluvium bench`, in micro-batches of one size, and takes what it sends as Kafka
would: batches are built and thrown away. With `--artifacts` lists are made by an artifact, which is learned if the
folder holds none. Stages are the worker's own, told in processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import ConsumerRecord

from stream.bench.artifact import learn_artifact
from stream.bench.logs import BenchLog, Sent, split
from stream.cli.evaluate import read_file
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.store import ArtifactStore
from stream.metrics import WorkerMetrics
from stream.settings import Settings
from stream.wire.messages import Item
from stream.worker import measuring
from stream.worker.batch import Chunk
from stream.worker.knowledge import Knowledge
from stream.worker.step import MicroBatch

CHUNK = 128  # records
NOW = 1_800_000_000_000


class Producer:
    """Takes everything at once."""

    async def send_batch(self, batch: BatchBuilder, _topic: str, *, partition: int) -> asyncio.Future[Any]:
        """Builds the batch as the sender does."""
        batch._build()
        done = asyncio.get_running_loop().create_future()
        done.set_result(SimpleNamespace(offset=0, partition=partition))
        return done


class Table:
    """Rows by partition and user."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[bytes, bytes]] = defaultdict(dict)

    def row(self, partition: int, user: bytes) -> bytes | None:
        """As the worker's table."""
        return self.rows[partition].get(user)

    async def put(self, partition: int, rows: dict[bytes, bytes], _offset: int) -> None:
        """As the worker's table."""
        self.rows[partition].update(rows)

    def outdated(self, _partitions: Iterable[int]) -> dict[int, dict[bytes, bytes]]:
        """There are none."""
        return {}


def snapshot_of(log: BenchLog, settings: Settings, folder: Path) -> Snapshot:
    """The newest artifact in a folder, learned now if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    store = ArtifactStore(str(folder / "artifacts"), folder / "cache")
    known = store.list()
    return store.open(known[-1] if known else learn_artifact(log, settings, folder, print).id)


async def knowledge_of(log: BenchLog, settings: Settings, snapshot: Snapshot | None) -> Knowledge:
    """What a worker knows: with an artifact the catalogue too."""
    knowledge = Knowledge(settings, time.monotonic)
    if snapshot is not None:
        for offset, item in enumerate(log.items):
            knowledge.apply_item(0, offset, item.item_id, Item(item.item_id))
        await knowledge.swap(snapshot)
    return knowledge


def micro_batches(sent: Sequence[Sent], topic: str, size: int) -> Iterator[list[Chunk]]:
    """The log in micro-batches of about `size` events, all partitions in each."""
    for start in range(0, len(sent), size):
        records: dict[int, list[ConsumerRecord]] = {}
        for one in sent[start : start + size]:
            record = ConsumerRecord(
                topic, one.partition, one.offset, NOW, 0, one.key, one.value, None, len(one.key), len(one.value), ()
            )
            records.setdefault(one.partition, []).append(record)
        yield [
            Chunk(topic, partition, of_one[first : first + CHUNK])
            for partition, of_one in records.items()
            for first in range(0, len(of_one), CHUNK)
        ]


async def play(batches: Sequence[list[Chunk]], settings: Settings, knowledge: Knowledge) -> dict[str, float]:
    """Microseconds an event in each part, of the last four fifths."""
    metrics = WorkerMetrics()
    made_of: dict[str, Any] = {"table": Table(), "producer": Producer(), "letters": None}
    step = MicroBatch(settings, knowledge=knowledge, metrics=metrics, generation=lambda: 1, **made_of)
    skipped = len(batches) // 5
    spent: dict[str, float] = defaultdict(float)
    before: dict[str, float] = {}
    events = 0
    for number, chunks in enumerate(batches):
        began = time.thread_time()
        prepared = await step.prepare(chunks, 1)
        halved = time.thread_time()
        await step.deliver(prepared)
        if number < skipped:
            before = stages(metrics)
            continue
        spent["prepare"] += halved - began
        spent["deliver"] += time.thread_time() - halved
        events += sum(len(chunk.records) for chunk in chunks)
    spent["all"] = spent["prepare"] + spent["deliver"]
    spent |= {f"stage {name}": total - before.get(name, 0.0) for name, total in stages(metrics).items()}
    return {name: 1e6 * seconds / events for name, seconds in spent.items()}


def stages(metrics: WorkerMetrics) -> dict[str, float]:
    """Seconds in each stage so far."""
    samples = (sample for family in metrics.stage.collect() for sample in family.samples)
    return {sample.labels["stage"]: sample.value for sample in samples if sample.name.endswith("_sum")}


def main() -> None:
    """Prints the least and the median of the rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("dataset")
    parser.add_argument("--artifacts", type=Path)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--size", type=int, default=2_048)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    settings = Settings()
    log = split(read_file(arguments.file, "", arguments.dataset, None, "", settings), 400_000)
    sent = log.records(arguments.events, settings.kafka.partitions, settings.event_types().names)
    batches = list(micro_batches(sent, "alluvium.events", arguments.size))
    snapshot = None if arguments.artifacts is None else snapshot_of(log, settings, arguments.artifacts)
    clock = SimpleNamespace(perf_counter=time.thread_time, time_ns=time.time_ns)
    vars(measuring)["time"] = clock  # stages in processor time
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    rounds = [asyncio.run(_round(log, batches, settings, snapshot)) for _ in range(arguments.rounds)]
    for name in rounds[0]:
        values = [one[name] for one in rounds]
        print(f"{name:18} {min(values):8.2f} {statistics.median(values):8.2f}")


async def _round(
    log: BenchLog, batches: Sequence[list[Chunk]], settings: Settings, snapshot: Snapshot | None
) -> dict[str, float]:
    return await play(batches, settings, await knowledge_of(log, settings, snapshot))


if __name__ == "__main__":
    main()
