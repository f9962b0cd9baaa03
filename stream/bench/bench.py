"""The bench: every contender in turn, round after round."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from aiokafka.errors import KafkaError

from stream.bench.artifact import Artifact, learn_artifact
from stream.bench.environments import EnvironmentFailedError
from stream.bench.field import FIELD, Contender
from stream.bench.logs import BenchLog, Sent
from stream.bench.throughput import Brought
from stream.bench.yard import FellError, Yard
from stream.settings import Settings
from stream.shop.broker import Broker

Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Plan:
    """What is measured, on what, and who is told how far it is."""

    settings: Settings
    log: BenchLog
    contenders: Sequence[str]
    rounds: int
    events: int
    seconds: float
    directory: Path
    cache: Path
    say: Callable[[str], None]


@dataclass
class Bench:
    """A plan under way. `problems` are what went wrong, in words."""

    plan: Plan
    yard: Yard
    problems: list[str] = field(default_factory=list)
    _pythons: dict[str, str | None] = field(default_factory=dict)
    _artifact: Artifact | None = None

    def artifact(self) -> Artifact:
        """What lists are made from, learned when it is first asked for."""
        if self._artifact is None:
            plan = self.plan
            self._artifact = learn_artifact(plan.log, plan.settings, plan.directory, plan.say)
            plan.say(f"learned artifact {self._artifact.id} of {self._artifact.items:,} items")
        return self._artifact

    def brought(self, contender: Contender, artifact: Artifact | None) -> Brought | None:
        """What a contender runs with, None where its environment cannot be made."""
        if contender.name not in self._pythons:
            try:
                self._pythons[contender.name] = contender.prepare(self.plan.cache)
            except EnvironmentFailedError as error:
                self._pythons[contender.name] = None
                self.failed(f"{contender.title} cannot run: {error}")
        python = self._pythons[contender.name]
        return None if python is None else Brought(python, self.plan.log.items, artifact)

    def sent(self, count: int) -> list[Sent]:
        """The log's records, of so many good events."""
        settings = self.plan.settings
        return self.plan.log.records(count, settings.kafka.partitions, settings.event_types().names)

    def failed(self, problem: str) -> None:
        """Takes note of what went wrong."""
        self.problems.append(problem)
        self.plan.say(problem)

    async def rounds(
        self,
        suite: str,
        contenders: Sequence[Contender],
        bring: Callable[[Contender], Brought | None],
        play: Callable[[Contender, Brought], Awaitable[Outcome]],
        tell: Callable[[Outcome], str],
    ) -> dict[str, list[Outcome]]:
        """A, B, C and again A, B, C: what disturbs the machine for a while disturbs all."""
        outcomes: dict[str, list[Outcome]] = {}
        for number in range(1, self.plan.rounds + 1):
            for contender in contenders:
                brought = bring(contender)
                if brought is None:
                    continue
                try:
                    outcome = await play(contender, brought)
                except (FellError, KafkaError) as error:
                    self.failed(f"{suite}, round {number}: {error}")
                    continue
                outcomes.setdefault(contender.name, []).append(outcome)
                self.plan.say(f"{suite}, round {number}: {contender.title}: {tell(outcome)}")
        return outcomes

    async def warmed(
        self,
        contenders: Sequence[Contender],
        bring: Callable[[Contender], Brought | None],
        play: Callable[[Contender, Brought], Awaitable[object]],
    ) -> None:
        """Plays each contender once and drops the outcome: the first to come meets a broker that is slow as yet."""
        for contender in contenders:
            brought = bring(contender)
            if brought is not None:
                with contextlib.suppress(FellError, KafkaError):  # the rounds will tell
                    await play(contender, brought)

    def taking_part(self, *besides: str) -> list[Contender]:
        """The contenders that were asked for, without some."""
        return [FIELD[name] for name in self.plan.contenders if name not in besides]


@asynccontextmanager
async def open_bench(plan: Plan) -> AsyncIterator[Bench]:
    """A broker of the bench's own, in a directory that nobody else uses. Raises BrokerError."""
    # Brokers refuse a topic for a moment that they have just made, which clients repair and speak of.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with Broker(plan.directory / "kafka", fresh=True, heap=plan.settings.broker.heap) as broker:
        yield Bench(plan, Yard(plan.directory, broker))
