"""What processes say and hold while they are broken: memory, open files, and how long events waited for their lists."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.crash.group import Group

EVERY = 5.0  # seconds
WARM_UP = 120.0  # of a process, in which it grows as it fills
BUCKET = re.compile(r'^alluvium_event_to_recommendation_seconds_bucket{le="([^"]+)"} (\S+)$', re.MULTILINE)

Buckets = Counter[float]  # how many events waited so many seconds at most, and longer than the bucket before


class Sample(NamedTuple):
    """One look at one process."""

    seconds: float
    name: str
    pid: int
    mib: float
    files: int


class Sampler:
    """Looks every five seconds; `turn` is called often."""

    def __init__(self, group: Group) -> None:
        self.samples: list[Sample] = []
        self.waits: list[tuple[float, Buckets]] = []  # by when they were seen
        self._group = group
        self._begun = self._next = time.monotonic()
        self._counted: dict[int, Buckets] = {}

    def turn(self) -> None:
        """Looks if it is time."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + EVERY
        seconds = now - self._begun
        if self._group.broker.pid is not None:
            self._look(seconds, "broker", self._group.broker.pid)
        for place in self._group.places:
            if place.worker is not None and place.lives and not place.busy:
                self._look(seconds, f"worker {place.number}", place.worker.process.pid)
                self._waits(seconds, place.worker.process.pid, place.worker.get("/metrics"))

    def _look(self, seconds: float, name: str, pid: int) -> None:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            files = len([*Path(f"/proc/{pid}/fd").iterdir()])
        except OSError:
            return
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        if found is not None:
            self.samples.append(Sample(seconds, name, pid, int(found[1]) / 1024, files))

    def _waits(self, seconds: float, pid: int, text: str) -> None:
        cumulated = {float(le): float(count) for le, count in BUCKET.findall(text)}
        counted, below = Buckets(), 0.0
        for le, count in sorted(cumulated.items()):
            counted[le], below = int(count - below), count
        if counted:
            self.waits.append((seconds, counted - self._counted.get(pid, Buckets())))
            self._counted[pid] = counted

    def longest_lived(self) -> dict[str, list[Sample]]:
        """For each name the samples of the process that lived longest, its first minutes left out."""
        lives: dict[tuple[str, int], list[Sample]] = {}
        for sample in self.samples:
            lives.setdefault((sample.name, sample.pid), []).append(sample)
        found: dict[str, list[Sample]] = {}
        for (name, _pid), samples in lives.items():
            kept = [sample for sample in samples if sample.seconds - samples[0].seconds >= WARM_UP]
            if len(kept) > len(found.get(name, [])):
                found[name] = kept
        return found


def quarters(looks: list[tuple[float, Buckets]]) -> list[list[Buckets]]:
    """The looks of each quarter of the time, each with what all processes had counted since the look before."""
    together: dict[float, Buckets] = {}
    for seconds, waits in looks:
        together[seconds] = together.get(seconds, Buckets()) + waits
    last = max(together, default=0.0)
    found: list[list[Buckets]] = [[] for _ in range(4)]
    for seconds, waits in together.items():
        found[min(3, int(4 * seconds / max(last, 1e-9)))].append(waits)
    return found


def slope(samples: list[Sample], column: str) -> float:
    """Of a straight line through them, per hour."""
    if len(samples) < 3:
        return float("nan")
    line = np.polyfit([one.seconds / 3600 for one in samples], [getattr(one, column) for one in samples], 1)
    return float(line[0])


def percentile(waits: Buckets, share: float) -> float:
    """Seconds, within its bucket in proportion; infinite beyond the last one."""
    total, below, before = sum(waits.values()), 0, 0.0
    for le, count in sorted(waits.items()):
        if count and below + count >= share * total:
            return before + (le - before) * (share * total - below) / count
        below, before = below + count, le
    return float("nan")
