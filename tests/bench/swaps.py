"""What changing artifacts does to latency: one worker under a steady load, lists during a swap beside all others.

    python -m tests.bench.swaps --swaps 100 --items 20000 --rate 300

A swap lasts from the record of its announcement to the worker's log line that says it serves (the old arrays are freed
by then). Latency is from the event's Kafka timestamp to its list's, as the worker's histogram has it, and events belong
to where their own timestamp lies. Every list is also checked to hold items of the one artifact that it names.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import threading
import time
import uuid
from datetime import datetime
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from stream.knowledge.store import ArtifactStore
from stream.shop.broker import running_broker
from tests.swaps import Versions, item_of
from tests.worker_kit import Shop, Worker, wait_until

VERSIONS = 10  # artifacts, announced in turn
USERS = 2_000
PAUSE_SECONDS = 1.0  # between two swaps
SERVES = re.compile(r"^(\S+) INFO alluvium\.worker: artifact serves artifact=(\S+)", re.MULTILINE)


def serving(worker: Worker) -> list[tuple[str, float]]:
    """The artifacts that have begun to serve, and when (epoch ms)."""
    lines = SERVES.findall(worker.log.read_text("utf-8"))
    return [(artifact, datetime.fromisoformat(moment).timestamp() * 1_000) for moment, artifact in lines]


def load(shop: Shop, versions: Versions, rate: float, stop: threading.Event) -> None:
    """Events of all users in turn at a steady rate."""
    due, number = time.monotonic(), 0
    while not stop.is_set():
        shop.click(f"u{number % USERS}", item_of(number % VERSIONS, number % versions.items))
        number += 1
        due += 1 / rate
        time.sleep(max(0.0, due - time.monotonic()))


def swap_again_and_again(shop: Shop, versions: Versions, worker: Worker, swaps: int) -> None:
    for number, artifact in enumerate(islice(cycle(versions.ids), swaps), 1):
        versions.announce(shop, artifact)
        wait_until(lambda number=number: len(serving(worker)) >= number, f"swap {number}")  # type: ignore[misc]
        time.sleep(PAUSE_SECONDS)


def latencies(shop: Shop, swaps: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of all lists behind the first swap, and which of their events came during one."""
    sent = {(record.partition(), record.offset()): record.timestamp()[1] for record in shop.read("events")}
    begins, ends = np.array(swaps).T
    found, during = [], []
    for record in shop.read("recommendations"):
        event = json.loads(record.value())["provenance"]["event"]
        came = sent[event["partition"], event["offset"]]
        at = int(np.searchsorted(begins, came, "right")) - 1
        if at > 0:  # the first swap compiles
            found.append(record.timestamp()[1] - came)
            during.append(came <= ends[at])
    return np.array(found), np.array(during)


def told(name: str, values: np.ndarray) -> None:
    p50, p99 = np.percentile(values, (50, 99))
    print(f"{name:8} {len(values):7} lists   p50 {p50:6.0f} ms   p99 {p99:6.0f} ms   most {values.max():6.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=300.0)
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with tempfile.TemporaryDirectory() as place, running_broker(Path(place) / "kafka") as broker:
        shop = Shop(broker, f"b{uuid.uuid4().hex[:8]}.", Path(place)).create_topics()
        store = ArtifactStore(str(shop.directory / "artifacts"), shop.directory / "cache")
        versions = Versions(store, VERSIONS, options.items)
        worker = shop.start_worker().wait_until_ready()
        stop = threading.Event()
        loading = threading.Thread(target=load, args=(shop, versions, options.rate, stop))
        loading.start()
        try:
            swap_again_and_again(shop, versions, worker, options.swaps)
        finally:
            stop.set()
            loading.join()
        shop.flush()
        wait_until(lambda: len(shop.read("recommendations")) >= len(shop.read("events")), "a list for every event")
        refused = worker.metric("artifact_loads_total", outcome="refused")
        announced = [record.timestamp()[1] for record in shop.read("artifacts")]
        spans = [(float(begin), end) for begin, (_, end) in zip(announced, serving(worker), strict=True)]
        found, during = latencies(shop, spans)
        named = versions.assert_unmixed(shop.lists())
        shop.close()
    told("swaps", found[during])
    told("outside", found[~during])
    ratio = np.percentile(found[during], 99) / np.percentile(found[~during], 99)
    seconds = np.median([end - begin for begin, end in spans[1:]]) / 1_000
    print(f"p99 during / outside {ratio:.2f}; {len(spans)} swaps of {seconds:.2f} s (median), {refused:.0f} refused")
    print(f"{len(named)} artifacts named by lists, none mixed")


if __name__ == "__main__":
    main()
