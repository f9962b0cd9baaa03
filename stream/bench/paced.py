"""Suites at a steady rate: how long a list takes, beside requests, during a refresh; and what an idle worker costs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream.bench.bench import Bench
from stream.bench.field import ALLUVIUM, FIELD, Contender
from stream.bench.pacing import SETTLE_SECONDS, Latency, pacing
from stream.bench.throughput import Brought, start
from stream.bench.yard import run_of

RATE = 1_000.0  # events a second
FIRST_RECORDS = 400
REQUEST_RATE = 500.0
TITLES = {ALLUVIUM.name: "Alluvium, recommender on", "quix": "Quix Streams, constant list"}


@dataclass(frozen=True)
class Paced:
    """Latencies by what was run, in the order of the rounds."""

    suite: str
    latencies: Mapping[str, Sequence[Latency]]


async def latency(bench: Bench) -> Paced:
    """From an event to its list at 1,000 events/s: Alluvium with its recommender, Quix Streams with a constant list."""
    artifact = await asyncio.to_thread(bench.artifact)
    records = int(RATE * (bench.plan.seconds + SETTLE_SECONDS)) + FIRST_RECORDS

    def bring(contender: Contender) -> Brought | None:
        return bench.brought(contender, artifact if contender is ALLUVIUM else None)

    async def play(contender: Contender, brought: Brought) -> Latency:
        async with run_of(bench.yard, contender.name, bench.plan.settings) as run:
            await start(run, contender, brought)
            async with pacing(run, bench.sent(records)) as (pacer, _):
                await pacer.send(RATE, SETTLE_SECONDS)
                return await pacer.latency(await pacer.send(RATE, bench.plan.seconds))

    contenders = [FIELD[name] for name in bench.plan.contenders if name in TITLES]
    found = await bench.rounds("latency", contenders, bring, play, told)
    return Paced("latency", {TITLES[name]: latencies for name, latencies in found.items()})


def told(found: Latency) -> str:
    """A latency in a line."""
    missing = f"; {found.missing} MISSING" if found.missing else ""
    return f"p50 {found.p50:.1f}, p95 {found.p95:.1f}, p99 {found.p99:.1f} ms at {found.rate:,.0f}/s{missing}"
