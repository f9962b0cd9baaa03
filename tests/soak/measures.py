"""How long a fault is felt: takeover after SIGKILL, graceful stop, a rolling restart, on two workers under load.

python -m tests.soak.measures --times 5
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path

from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from tests.crash.group import Group, Place, running_group
from tests.worker_kit import wait_until

SESSION = 10.0  # the default
SETTLE = 3.0


class Arrivals(threading.Thread):
    """Of each partition, when a list came that has seen up to which event."""

    def __init__(self, group: Group) -> None:
        super().__init__(daemon=True)
        self.seen: dict[int, list[tuple[int, float]]] = {}  # newest event and wall clock, both rising
        self._finished = threading.Event()
        topic = group.shop.topic("recommendations")
        self._consumer = Consumer({"bootstrap.servers": group.shop.servers, "group.id": uuid.uuid4().hex})
        numbers = self._consumer.list_topics(topic, 10).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, number, OFFSET_END) for number in numbers])

    def run(self) -> None:
        """Reads until finished."""
        while not self._finished.is_set():
            for message in self._consumer.consume(500, 0.1):
                if message.error() is None:
                    self._take(json.loads(message.value()))
        self._consumer.close()

    def finish(self) -> None:
        """Reads no more."""
        self._finished.set()
        self.join()

    def newest(self, partition: int) -> int:
        """The newest event of a partition that a list has seen."""
        seen = self.seen.get(partition)
        return seen[-1][0] if seen else -1

    def _take(self, made: dict[str, object]) -> None:
        provenance = made["provenance"]
        event = provenance["event"] if isinstance(provenance, dict) else None
        if made["request_id"] is None and event is not None and event["offset"] > self.newest(event["partition"]):
            self.seen.setdefault(event["partition"], []).append((event["offset"], time.time()))


def takeover(group: Group, arrivals: Arrivals, place: Place) -> float:
    """Seconds from SIGKILL of one of two until lists flow again for the events of all its partitions."""
    assert place.worker is not None
    held = place.worker.ready["partitions"]
    place.wanted = False
    killed = time.monotonic()
    place.kill()
    ends = group.ends()
    wait_until(lambda: all(arrivals.newest(number) >= ends[number] for number in held), "lists again", 120)
    seconds = time.monotonic() - killed
    place.wanted = True
    group.wait_until_ready()
    time.sleep(SETTLE)
    return seconds


def graceful_stop(place: Place) -> float:
    """Seconds from SIGTERM to the end of the process."""
    assert place.worker is not None
    place.wanted = False
    begun = time.monotonic()
    place.signal(signal.SIGTERM)
    place.worker.process.wait(60)
    return time.monotonic() - begun


def rolling_restart(group: Group, arrivals: Arrivals) -> tuple[float, float]:
    """Stops and starts one after the other; the longest time an event waited for a list, and the longest stop."""
    before, stops = group.ends(), []
    for place in group.places:
        stops.append(graceful_stop(place))
        place.wanted = True
        group.wait_until_ready()
        time.sleep(SETTLE)
    return longest_wait(group, arrivals, before), max(stops)


def longest_wait(group: Group, arrivals: Arrivals, since: dict[int, int]) -> float:
    """Seconds from an event's Kafka timestamp to the first list that has seen it or a later one of its partition."""
    longest, places = 0.0, dict.fromkeys(since, 0)
    ends = {number: arrivals.newest(number) for number in since}
    for record in group.shop.read("events"):
        number, offset = record.partition(), record.offset()
        if not since[number] <= offset <= ends[number]:
            continue
        seen = arrivals.seen[number]
        while seen[places[number]][0] < offset:
            places[number] += 1
        longest = max(longest, seen[places[number]][1] - record.timestamp()[1] / 1000)
    return longest


def main() -> int:
    """Prints one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.measures", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--rate", type=float, default=100)
    options = parser.parse_args()
    settings = {"ALLUVIUM_WORKER__SESSION_TIMEOUT_SECONDS": str(SESSION)}
    with (
        tempfile.TemporaryDirectory(prefix="measures-") as directory,
        running_group(Path(directory), "m.", workers=2, seed=1, rate=options.rate, **settings) as group,
    ):
        group.load.start()
        group.wait_until_ready()
        arrivals = Arrivals(group)
        arrivals.start()
        time.sleep(SETTLE)
        resent = group.check().counts.resent
        rolls = [rolling_restart(group, arrivals) for _ in range(options.times)]
        oracle = group.check()
        resent = oracle.counts.resent - resent
        takeovers = [takeover(group, arrivals, group.places[number % 2]) for number in range(options.times)]
        group.load.finish()
        arrivals.finish()
    found = {
        "takeover_seconds": takeovers,
        "rolling_restart_longest_wait_seconds": [wait for wait, _stop in rolls],
        "graceful_stop_seconds": [stop for _wait, stop in rolls],
        "lists_sent_again_by_stops": resent,
        "problems": oracle.problems,
    }
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
