"""What is measured: each suite plays its contenders and says what came out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from stream.bench.bench import Bench
from stream.bench.contenders.alone import Alone
from stream.bench.field import ALLUVIUM, Contender
from stream.bench.throughput import Brought, Outcome, throughput, write_task
from stream.bench.yard import FellError, run_of

ALONE = Contender("alone", "the recommender alone", "alone", own=False)
ALONE_EVENTS = 30_000


@dataclass(frozen=True)
class Throughput:
    """Outcomes by contender in the order of the rounds; `alone`: the recommender without a stream, round by round."""

    suite: str
    outcomes: Mapping[str, Sequence[Outcome]]
    alone: Sequence[Alone] = field(default_factory=list)


async def transport(bench: Bench) -> Throughput:
    """Everything but the recommender: a constant list, and Alluvium before its first artifact."""

    async def play(contender: Contender, brought: Brought) -> Outcome:
        sent = bench.sent(int(bench.plan.events * contender.share))
        return await throughput(bench.yard, contender, bench.plan.settings, sent, brought)

    outcomes = await bench.rounds(
        "transport", bench.taking_part(), lambda contender: bench.brought(contender, None), play, _told
    )
    return Throughput("transport", outcomes)


async def recommend(bench: Bench) -> Throughput:
    """With the recommender: one list for each event; beside it the recommender without a stream."""
    artifact = await asyncio.to_thread(bench.artifact)
    alone: list[Alone] = []

    async def play(contender: Contender, brought: Brought) -> Outcome:
        if contender is ALLUVIUM:
            alone.append(await _alone(bench, brought))
        sent = bench.sent(int(bench.plan.events * contender.share_of_lists))
        return await throughput(bench.yard, contender, bench.plan.settings, sent, brought)

    contenders = bench.taking_part("aiokafka", "bytewax")
    outcomes = await bench.rounds(
        "recommend", contenders, lambda contender: bench.brought(contender, artifact), play, _told
    )
    return Throughput("recommend", outcomes, alone)


async def _alone(bench: Bench, brought: Brought) -> Alone:
    async with run_of(bench.yard, ALONE.name, bench.plan.settings) as run:
        lines = run.directory / "events.jsonl"
        lines.write_bytes(b"\n".join(record.value for record in bench.sent(ALONE_EVENTS)))
        task = write_task(run, brought)
        run.start([*ALONE.command(brought.python, task), str(lines)])
        if await run.wait() != 0:
            raise FellError(f"{ALONE.title} failed; see {run.log}")
        made = msgspec.json.decode(run.log.read_bytes().splitlines()[-1], type=Alone)
    bench.plan.say(f"recommend: {ALONE.title}: {made.batched.per_second:,.0f} lists/s in batches, one by one "
                   f"{1e6 / made.single.per_second:.0f} us a list")  # fmt: skip
    return made


def _told(outcome: Outcome) -> str:
    checked = outcome.checked
    told = f"{outcome.rate.per_second:,.0f} lists/s, {outcome.rate.cpu_microseconds:.1f} us of CPU a list"
    if not checked.exact:
        told += f"; LOST {checked.lost} lists, {checked.letters_lost} dead letters; {checked.strange} strange lists"
    return told
