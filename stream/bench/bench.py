"""The bench: every contender in turn, round after round, and what it comes to."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from stream.bench.environments import EnvironmentFailedError
from stream.bench.field import FIELD, Contender
from stream.bench.logs import BenchLog
from stream.bench.throughput import Brought, Outcome, throughput
from stream.bench.yard import FellError, Yard
from stream.settings import Settings
from stream.shop.broker import Broker

LIST = 20  # items of the constant list


@dataclass(frozen=True)
class Plan:
    """What is measured, on what, and who is told how far it is."""

    settings: Settings
    log: BenchLog
    contenders: Sequence[str]
    rounds: int
    events: int
    directory: Path
    cache: Path
    say: Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """A suite's outcomes by contender, in the order of the rounds, and in words what went wrong."""

    suite: str
    outcomes: Mapping[str, Sequence[Outcome]]
    problems: Sequence[str]


async def transport(yard: Yard, plan: Plan) -> Result:
    """Everything but the recommender: a constant list, and Alluvium before its first artifact."""
    constant = [item.item_id for item in plan.log.items[:LIST]]
    return await _rounds(yard, plan, "transport", lambda python: Brought(python, constant))


@asynccontextmanager
async def open_yard(plan: Plan) -> AsyncIterator[Yard]:
    """A broker of the bench's own, in a directory that nobody else uses. Raises BrokerError."""
    # brokers that have just made a topic refuse it for a moment, which clients repair and speak of
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with Broker(plan.directory / "kafka", fresh=True, heap=plan.settings.broker.heap) as broker:
        yield Yard(plan.directory, broker)


async def _rounds(yard: Yard, plan: Plan, suite: str, bring: Callable[[str], Brought]) -> Result:
    """A, B, C and again A, B, C: what disturbs the machine for a while disturbs all."""
    problems: list[str] = []
    pythons = _prepared(plan, problems)
    outcomes: dict[str, list[Outcome]] = {name: [] for name in pythons}
    names = plan.settings.event_types().names
    for number in range(1, plan.rounds + 1):
        for name, python in pythons.items():
            contender = FIELD[name]
            sent = plan.log.records(int(plan.events * contender.share), plan.settings.kafka.partitions, names)
            try:
                outcome = await throughput(yard, contender, plan.settings, sent, bring(python))
            except FellError as error:
                problems.append(f"{suite}, round {number}: {error}")
                plan.say(problems[-1])
                continue
            outcomes[name].append(outcome)
            plan.say(f"{suite}, round {number}: {contender.title}: {_told(outcome)}")
    return Result(suite, outcomes, problems)


def _prepared(plan: Plan, problems: list[str]) -> dict[str, str]:
    """The Python of each contender that can run."""
    pythons = {}
    for name in plan.contenders:
        contender: Contender = FIELD[name]
        try:
            plan.say(f"preparing {contender.title}")
            pythons[name] = contender.prepare(plan.cache)
        except EnvironmentFailedError as error:
            problems.append(f"{contender.title} cannot run: {error}")
            plan.say(problems[-1])
    return pythons


def _told(outcome: Outcome) -> str:
    checked = outcome.checked
    told = f"{outcome.rate.per_second:,.0f} lists/s, {outcome.rate.cpu_microseconds:.1f} us of CPU a list"
    if not checked.exact:
        told += f"; LOST {checked.lost} lists, {checked.letters_lost} dead letters; {checked.strange} strange lists"
    return told
