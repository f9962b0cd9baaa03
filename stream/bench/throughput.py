"""How many events a second a contender answers: a log that waits for it, and the lists counted from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from stream.bench.artifact import Artifact
from stream.bench.checking import Checked, check
from stream.bench.contenders.job import Task
from stream.bench.field import ALLUVIUM, Contender
from stream.bench.logs import Sent
from stream.bench.measuring import Rate, Sample, middle_rate
from stream.bench.yard import FellError, Run, Yard, now, run_of
from stream.kafka import reader, topic_partitions
from stream.settings import Settings
from stream.shop.broker import HOST
from stream.shop.scrape import Samples, scrape
from stream.wire.messages import Item
from stream.wire.topics import DEAD_LETTERS, EVENTS, RECOMMENDATIONS, changelog_name

LOOK_SECONDS = 0.05
FIRST_PATIENCE, STALL_PATIENCE, PATIENCE = 120.0, 3.0, 300.0  # seconds: to the first list, without another, in all


@dataclass(frozen=True)
class Brought:
    """What a run of a contender brings along: its Python, the catalogue, and the artifact where lists are real."""

    python: str
    items: Sequence[Item]
    artifact: Artifact | None = None


@dataclass(frozen=True)
class Outcome:
    """One contender in one round; a list that answers two events counts once in its `rate`.

    `stages`: microseconds an event by `alluvium_stage_seconds`, of Alluvium alone.
    """

    rate: Rate
    checked: Checked
    stages: dict[str, float]


async def throughput(
    yard: Yard, contender: Contender, settings: Settings, sent: Sequence[Sent], brought: Brought
) -> Outcome:
    """Lets one contender answer a log that stands in Kafka before it starts. Raises FellError."""
    async with run_of(yard, contender.name, settings) as run:
        await run.send_events(sent)
        await start(run, contender, brought)
        samples = await _watch(run, sent)
        stages = await _stages(run, len(sent)) if contender is ALLUVIUM else {}
        await run.stop()
        shared = contender is ALLUVIUM
        checked = check(sent, await run.lists(), await run.letters(), shared=shared)
    rate = middle_rate(samples)
    if rate is None:
        raise FellError(f"{contender.title} made no lists; see {run.log}")
    return Outcome(rate, checked, stages)


async def start(run: Run, contender: Contender, brought: Brought) -> None:
    """Starts a contender's process in a run."""
    if contender is ALLUVIUM:
        if brought.artifact is not None:
            await run.send_items(brought.items)
            await run.announce(brought.artifact)
        run.start(command_of_ours(run, brought, "worker"))
        return
    run.start(contender.command(brought.python, write_task(run, brought)))


def command_of_ours(run: Run, brought: Brought, name: str) -> list[str]:
    """An `alluvium` command with a run's settings."""
    return [brought.python, "-m", "stream.cli", "--config", str(run.settings_file), name]


def write_task(run: Run, brought: Brought) -> Path:
    """The file that tells a contender what to do."""
    kafka, group = run.kafka, run.settings.worker.group_id
    task = Task(
        servers=kafka.bootstrap_servers,
        group=kafka.topic_prefix + group,
        events=run.topic(EVENTS),
        recommendations=run.topic(RECOMMENDATIONS),
        dead_letters=run.topic(DEAD_LETTERS),
        changelog=changelog_name(kafka, group),
        partitions=kafka.partitions,
        directory=str(run.directory),
        items=[item.item_id for item in brought.items],
        settings=run.settings.digest(),
        settings_file=str(run.settings_file),
        artifact_url=brought.artifact.url if brought.artifact else "",
        artifact=brought.artifact.id if brought.artifact else "",
    )
    file = run.directory / "task.json"
    file.write_bytes(msgspec.json.encode(task))
    return file


async def _watch(run: Run, sent: Sequence[Sent]) -> list[Sample]:
    """Samples of the lists that have arrived, until all have or nothing more comes."""
    good = sum(record.user is not None for record in sent)
    async with reader(run.kafka) as consumer:
        lists = await topic_partitions(consumer, run.topic(RECOMMENDATIONS))
        letters = await topic_partitions(consumer, run.topic(DEAD_LETTERS))
        samples = [Sample(now(), 0, run.cpu_seconds())]
        grown = begun = now()
        while now() - begun < PATIENCE:
            await asyncio.sleep(LOOK_SECONDS)
            run.check()
            ends = await consumer.end_offsets(lists + letters)
            made, written = (sum(ends[tp] for tp in partitions) for partitions in (lists, letters))
            samples.append(Sample(now(), made, run.cpu_seconds()))
            if made > samples[-2].arrived:
                grown = samples[-1].moment
            if made >= good and written >= len(sent) - good:
                break
            if now() - grown > (STALL_PATIENCE if made else FIRST_PATIENCE):
                break
        return [sample for sample in samples if sample.moment <= grown]


async def _stages(run: Run, events: int) -> dict[str, float]:
    async with aiohttp.ClientSession() as session:
        found = await scrape(session, f"http://{HOST}:{run.settings.worker.http_port}/metrics") or Samples()
    return {
        sample.labels["stage"]: 1e6 * sample.value / events for sample in found.select("alluvium_stage_seconds_sum")
    }
