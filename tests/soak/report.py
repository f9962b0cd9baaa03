"""A run as a page of Markdown."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.crash.breaking import Told
from tests.crash.group import Group
from tests.soak.sampling import Buckets, Sampler, percentile, quarters, slope

SHARES = (0.5, 0.99)


def report(command: str, told: Told, group: Group, sampler: Sampler) -> str:
    """What was done, what came of it, and what it cost."""
    return "\n".join([*_outcome(command, told, group), *_faults(told), *_processes(sampler), *_times(group, sampler)])


def _outcome(command: str, told: Told, group: Group) -> Iterator[str]:
    oracle, counts = group.oracle, group.oracle.counts
    yield f"`{command}`: {told.faults.total()} faults in {told.seconds / 60:.1f} minutes, {told.checks} checks in"
    yield f"{told.checking / 60:.1f} of them.\n"
    yield "| lost | doubled | wrong |\n|---|---|---|"
    yield f"| {len(oracle.lost)} | {len(oracle.doubled)} | {len(oracle.wrong)} |\n"
    yield f"Events {counts.events:,}: {counts.applied:,} applied, {counts.repeated:,} repetitions, {counts.bad:,} bad."
    yield f"Rows {counts.rows:,}, of them {counts.stale:,} behind newer ones; lists {counts.lists:,}, of them"
    yield f"{counts.resent:,} sent again; requests {counts.requests:,}; dead letters {counts.letters:,}.\n"
    for problem in told.problems:
        yield f"- {problem}"


def _faults(told: Told) -> Iterator[str]:
    yield "\n| fault | times |\n|---|---|"
    for name, count in told.faults.most_common():
        yield f"| {name} | {count} |"


def _processes(sampler: Sampler) -> Iterator[str]:
    yield "\nThe process of each kind that lived longest, without its first two minutes:\n"
    yield "| process | minutes | MiB, each quarter of that | MiB an hour | open files at first, at last | an hour |"
    yield "|---|---|---|---|---|---|"
    for name, samples in sorted(sampler.longest_lived().items()):
        first, last = samples[0], samples[-1]
        minutes = (last.seconds - first.seconds) / 60
        course = ", ".join(f"{samples[quarter * (len(samples) - 1) // 4].mib:.0f}" for quarter in range(5))
        yield (
            f"| {name} | {minutes:.1f} | {course} | {slope(samples, 'mib'):+.0f} "
            f"| {first.files}, {last.files} | {slope(samples, 'files'):+.1f} |"
        )


def _times(group: Group, sampler: Sampler) -> Iterator[str]:
    yield "\nHow long events waited, and the middle one of five seconds' own percentiles: of times without a fault, if"
    yield "these are the most.\n"
    yield "| quarter | events | p50 ms | p99 ms | middle p50 ms | middle p99 ms |\n|---|---|---|---|---|---|"
    for number, looks in enumerate(quarters(sampler.waits), 1):
        every = sum(looks, Buckets())
        columns = [percentile(every, share) for share in SHARES]
        columns += [_middle([percentile(look, share) for look in looks if look.total()]) for share in SHARES]
        yield f"| {number} | {every.total():,} | " + " | ".join(f"{1000 * seconds:.0f}" for seconds in columns) + " |"
    ready = sorted(seconds for place in group.places for seconds in place.ready_seconds)
    ends = Counter(reason for place in group.places for reason in place.ends)
    yield f"\nFrom a start to ready, {len(ready)} times: {_spread(ready)}."
    yield f"Workers started {sum(place.starts for place in group.places)} times; ended by themselves {ends.total()}:\n"
    for reason, count in ends.most_common():
        yield f"- {count} times: {reason}"


def _middle(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "none was left alone"
    return f"median {seconds[len(seconds) // 2]:.1f} s, longest {seconds[-1]:.1f} s"
