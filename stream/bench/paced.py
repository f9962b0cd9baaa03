"""Suites at a steady rate: how long a list takes, beside requests, during a refresh; and what an idle worker costs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from stream.bench.bench import Bench
from stream.bench.field import ALLUVIUM, FIELD, Contender
from stream.bench.pacing import SETTLE_SECONDS, Latency, pacing
from stream.bench.throughput import Brought, command_of_ours, start
from stream.bench.yard import FellError, now, run_of
from stream.settings import Settings
from stream.shop.broker import free_port

RATE = 1_000.0  # events a second
FIRST_RECORDS = 400
REQUEST_RATE = 500.0
LOAD = 0.7  # of capacity
CAPACITY_SECONDS = 10.0
CALM_SECONDS, REFRESH_SECONDS = 10.0, 90.0  # the second at most
WARM_SECONDS = 5.0  # at the rate, of each contender before the first round: a broker is slow at first
AFTER_SWAP_SECONDS = 2.0
REFRESHED_EVENTS = 50_000
MOST_RECORDS = 1_000_000  # as many as the log has, if it has fewer
IDLE_SECONDS = 10.0
BEFORE, MEANWHILE = "before", "while a refresh trains and is swapped in"

Found = TypeVar("Found")

TITLES = {ALLUVIUM.name: "Alluvium, recommender on", "quix": "Quix Streams, constant list"}


@dataclass(frozen=True)
class Paced:
    """Latencies by what was run, in the order of the rounds; `compared`: which is to be told as a multiple of which."""

    suite: str
    latencies: Mapping[str, Sequence[Latency]]
    compared: tuple[str, str] | None = None


@dataclass(frozen=True)
class Idle:
    """Shares of a core, round by round."""

    suite: str
    shares: Sequence[float]


async def latency(bench: Bench) -> Paced:
    """From an event to its list at 1,000 events/s: Alluvium with its recommender, Quix Streams with a constant list."""
    artifact = await asyncio.to_thread(bench.artifact)
    records = int(RATE * (bench.plan.seconds + SETTLE_SECONDS)) + FIRST_RECORDS

    def bring(contender: Contender) -> Brought | None:
        return bench.brought(contender, artifact if contender is ALLUVIUM else None)

    async def play(contender: Contender, brought: Brought, seconds: float = bench.plan.seconds) -> Latency:
        async with run_of(bench.yard, contender.name, bench.plan.settings) as run:
            await start(run, contender, brought)
            async with pacing(run, bench.sent(records)) as (pacer, _):
                await pacer.send(RATE, SETTLE_SECONDS)
                return await pacer.latency(await pacer.send(RATE, seconds))

    contenders = [FIELD[name] for name in bench.plan.contenders if name in TITLES]
    await bench.warmed(contenders, bring, lambda contender, brought: play(contender, brought, WARM_SECONDS))
    found = await bench.rounds("latency", contenders, bring, play, told)
    titled = {TITLES[name]: latencies for name, latencies in found.items()}
    return Paced("latency", titled, (TITLES[ALLUVIUM.name], TITLES["quix"]))


async def requests(bench: Bench) -> Paced:
    """500 requests/s of kind `user` on top of 1,000 events/s: how long each takes."""
    seconds = bench.plan.seconds / 2
    records = int(RATE * (seconds + SETTLE_SECONDS)) + FIRST_RECORDS

    async def play(contender: Contender, brought: Brought) -> tuple[Latency, Latency]:
        async with run_of(bench.yard, contender.name, bench.plan.settings) as run:
            await start(run, contender, brought)
            async with pacing(run, bench.sent(records)) as (pacer, arrivals):
                await pacer.send(RATE, SETTLE_SECONDS, requests=REQUEST_RATE)
                pacer.asked.clear()
                events = await pacer.latency(await pacer.send(RATE, seconds, requests=REQUEST_RATE))
                return events, arrivals.latency_of_requests(pacer.asked)

    found = await _of_alluvium(
        bench, "requests", play, lambda pair: f"requests {told(pair[1])}; events {told(pair[0])}"
    )
    return Paced("requests", {"events": [pair[0] for pair in found], "requests": [pair[1] for pair in found]})


async def refresh(bench: Bench) -> Paced:
    """At 70 % of capacity: before, and while a trainer refreshes beside the worker and its artifact is swapped in.

    The capacity is that beside the generator and the reader, which share the machine while this is measured, too.
    """
    settings = _refreshed_soon(bench.plan.settings)

    async def play(contender: Contender, brought: Brought) -> tuple[Latency, Latency]:
        async with run_of(bench.yard, contender.name, settings) as run:
            await start(run, contender, brought)
            async with pacing(run, bench.sent(MOST_RECORDS)) as (pacer, arrivals):
                rate = LOAD * await pacer.capacity(CAPACITY_SECONDS)
                await pacer.send(rate, SETTLE_SECONDS)
                before = await pacer.latency(await pacer.send(rate, CALM_SECONDS))
                run.start_beside(command_of_ours(run, brought, "trainer"))
                sent = await pacer.send(rate, REFRESH_SECONDS, until=lambda: arrivals.swapped(AFTER_SWAP_SECONDS))
                if not arrivals.swapped(0):
                    raise FellError(f"no new artifact within {REFRESH_SECONDS:g} s or before the log's end")
                return before, await pacer.latency(sent)

    found = await _of_alluvium(bench, "refresh", play, lambda pair: f"before {told(pair[0])}; refresh {told(pair[1])}")
    calm, busy = ([pair[which] for pair in found] for which in (0, 1))
    return Paced("refresh", {BEFORE: calm, MEANWHILE: busy}, (MEANWHILE, BEFORE))


async def idle(bench: Bench) -> Idle:
    """The share of a core that a worker with an artifact uses while nothing happens."""

    async def play(contender: Contender, brought: Brought) -> float:
        async with run_of(bench.yard, contender.name, bench.plan.settings) as run:
            await start(run, contender, brought)
            async with pacing(run, bench.sent(FIRST_RECORDS)):
                await asyncio.sleep(SETTLE_SECONDS)
            begun, spent = now(), run.cpu_seconds()
            await asyncio.sleep(IDLE_SECONDS)
            return (run.cpu_seconds() - spent) / (now() - begun)

    return Idle("idle", await _of_alluvium(bench, "idle", play, lambda share: f"{100 * share:.1f} % of a core"))


async def _of_alluvium(
    bench: Bench, suite: str, play: Callable[[Contender, Brought], Awaitable[Found]], tell: Callable[[Found], str]
) -> Sequence[Found]:
    """What comes of Alluvium alone, with its recommender."""
    artifact = await asyncio.to_thread(bench.artifact)
    found = await bench.rounds(suite, [ALLUVIUM], lambda contender: bench.brought(contender, artifact), play, tell)
    return found.get(ALLUVIUM.name, [])


def _refreshed_soon(settings: Settings) -> Settings:
    """Settings with which a trainer refreshes once, soon, and whatever comes of it is served."""
    replace = msgspec.structs.replace
    trainer = replace(settings.trainer, window_events=REFRESHED_EVENTS, http_port=free_port(), refresh_seconds=3_600.0)
    return replace(settings, trainer=trainer, model=replace(settings.model, tolerance=1.0))


def told(found: Latency) -> str:
    """A latency in a line."""
    missing = f"; {found.missing} MISSING" if found.missing else ""
    return f"p50 {found.p50:.1f}, p95 {found.p95:.1f}, p99 {found.p99:.1f} ms at {found.rate:,.0f}/s{missing}"
