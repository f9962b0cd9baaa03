"""The whole river in one command: Kafka, a worker, a trainer and a simulated shop, watched from outside and judged."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from stream.kafka import admin_client, producer
from stream.shop import story, verdict
from stream.shop.delivery import Delivery, Message
from stream.shop.household import DemoError, Household
from stream.shop.ledger import BAD_MESSAGES
from stream.shop.scrape import status_of
from stream.shop.simulator import Simulator
from stream.shop.verdict import ArtifactQuality, Check, Summary
from stream.shop.view import View
from stream.shop.watching import DEPTH, Watch
from stream.shop.world import World
from stream.wire.messages import Request
from stream.wire.topics import EVENTS, REQUESTS, create_topics

LOOK_SECONDS = 0.5
READY_SECONDS = 180.0
BAD_AFTER_SECONDS = 5.0
STORY_SECONDS = 6.0
SETTLE_SECONDS = 30.0
SERVE_SECONDS = 5.0  # the last artifact asked for serves this long before the end


@dataclass(frozen=True)
class Options:
    """What to run. `until_artifacts` None goes on until it is stopped."""

    directory: Path
    rate: float = 100.0
    users: int = 500
    items: int = 1_000
    seed: int = 7
    refresh_seconds: float = 15.0
    until_artifacts: int | None = None
    time_limit: float = 900.0


def run_demo(options: Options, view: View, environment: Mapping[str, str]) -> Summary:
    """Runs the demo to its end, when every child has ended too. Raises BrokerError, DemoError, KafkaError.

    1. a fresh directory, and what takes long the first time; 2. Kafka; 3. topics; 4. worker and trainer; 5. the shop;
    6. watch; 7. settle and judge.
    """
    with Household(options.directory, options.refresh_seconds, environment, view.say) as household:
        view.say(f"Everything of this demo is in {household.directory}")
        view.say("Fetching Kafka (45 MB through Maven) and compiling; both is kept, and quick the next time …")
        household.prepare()
        view.say("Starting Apache Kafka …")
        household.start_broker()
        view.say(f"Kafka answers at {household.broker.bootstrap_servers}")
        try:
            return asyncio.run(_Demo(options, view, household).run())
        finally:
            view.close()


class _Demo:
    def __init__(self, options: Options, view: View, household: Household) -> None:
        self._options = options
        self._view = view
        self._household = household
        self._kafka = household.settings.kafka
        self._broker_up = time.time()
        self._stop = asyncio.Event()
        self._watch = Watch(household)
        self._world = World(options.seed, options.items, options.users)
        self._shop = Simulator(
            self._kafka, self._world, seed=options.seed, rate=options.rate, new_items_per_minute=20.0
        )
        self._hero: str | None = None
        self._turn = -1  # which stretch of time the story in view belongs to
        self._bad_sent = 0
        self._announced: set[str] = set()

    async def run(self) -> Summary:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        await self._create_topics()
        for name in ("worker", "trainer"):
            self._view.say(f"Starting a {name}; its log is {self._household.log_file(name)}")
            self._household.start_child(name)
        async with aiohttp.ClientSession() as session, producer(self._kafka) as client:
            delivery = Delivery(client, self._kafka)
            await self._until_ready(session)
            following = asyncio.create_task(self._watch.follow())
            try:
                await self._live(session, delivery, following)
                return await self._judge(session)
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)

    async def _create_topics(self) -> None:
        async with admin_client(self._kafka) as admin:
            created = await create_topics(admin, self._kafka, self._household.settings.worker.group_id)
        self._view.say(f"Created {len(created)} topics of {self._kafka.partitions} partitions")

    async def _until_ready(self, session: aiohttp.ClientSession) -> None:
        deadline, said = time.time() + READY_SECONDS, ""
        while not self._stop.is_set():
            self._household.check_children()
            status, text = await status_of(session, self._household.url("worker", "/readyz"))
            if status == 200:
                self._view.say(f"The worker is ready, {time.time() - self._broker_up:.0f} s after Kafka")
                return
            if status and text != said:
                self._view.say(f"The worker is not ready yet: {text}")
                said = text
            if time.time() > deadline:
                raise DemoError(f"the worker was not ready within {READY_SECONDS:.0f} s: {text}")
            await asyncio.sleep(LOOK_SECONDS)

    async def _live(self, session: aiohttp.ClientSession, delivery: Delivery, following: asyncio.Task[None]) -> None:
        """The shop is open until enough artifacts have served, somebody stops the demo, or time is up."""
        options, closed = self._options, asyncio.Event()
        if self._stop.is_set():
            return
        self._view.say(
            f"The shop opens: {options.users:,} shoppers, {options.items:,} goods, {options.rate:g} events per second"
        )
        shop = asyncio.create_task(self._shop.run(closed))
        opened = time.time()
        try:
            while not self._stop.is_set() and not self._enough():
                await asyncio.sleep(LOOK_SECONDS)
                self._household.check_children()
                for task in (shop, following):
                    if task.done():
                        task.result()  # raises what ended it
                if not self._bad_sent and time.time() - opened > BAD_AFTER_SECONDS:
                    await self._send_bad(delivery)
                await self._ask_why(delivery)
                await self._look(session)
                if options.until_artifacts is not None and time.time() - opened > options.time_limit:
                    self._view.say(f"Time is up after {options.time_limit:.0f} s")
                    return
        finally:
            closed.set()
            with suppress(asyncio.CancelledError):
                await shop

    def _enough(self) -> bool:
        wanted, served = self._options.until_artifacts, list(self._watch.ledger.artifacts.values())
        return wanted is not None and len(served) >= wanted and time.time() - served[wanted - 1] > SERVE_SECONDS

    async def _look(self, session: aiohttp.ClientSession) -> None:
        facts = await self._watch.look(session)
        facts.items_new = max(0, self._shop.items - self._world.on_sale_at_first)
        facts.reactions = self._shop.reactions
        for artifact in self._watch.ledger.artifacts:
            if artifact not in self._announced:
                self._announced.add(artifact)
                self._view.say(f"Artifact {artifact} serves, {time.time() - self._broker_up:.0f} s after Kafka")
        told = [] if self._hero is None else story.tell(self._watch.ledger, self._hero, self._world.title)
        self._view.show(facts, told)

    async def _send_bad(self, delivery: Delivery) -> None:
        topic = self._kafka.topic_prefix + EVENTS
        await (await delivery.send([Message(topic, b"a broken client", value) for _, value in BAD_MESSAGES]))
        self._bad_sent = len(BAD_MESSAGES)
        kinds = ", ".join(kind for kind, _ in BAD_MESSAGES)
        self._view.say(f"Sent {self._bad_sent} bad messages, which belong into dead-letters: {kinds}")

    async def _ask_why(self, delivery: Delivery) -> None:
        """Every few seconds another shopper is told of; a request asks why they are offered what they are."""
        turn = int((time.time() - self._broker_up) / STORY_SECONDS)
        if turn == self._turn:
            return
        self._turn = turn
        self._hero = story.choose(self._watch.ledger, self._hero) or self._hero
        if self._hero is not None:
            request = Request(f"demo-{turn}", "user", user_id=self._hero, count=story.OFFERED, explain=True)
            topic = self._kafka.topic_prefix + REQUESTS
            await delivery.send([Message(topic, self._hero.encode(), msgspec.json.encode(request))])

    async def _judge(self, session: aiohttp.ClientSession) -> Summary:
        """The shop is closed: what is owed is paid, the accounts are balanced, the processes end."""
        self._view.close()
        self._view.say("The shop is closed; waiting for what is still on its way …")
        balance = await self._settle(session)
        ledger, hits = self._watch.ledger, self._watch.facts.hits
        served, latency = list(ledger.artifacts), ledger.latency()
        statuses = await asyncio.to_thread(self._household.end_children)
        checks = [
            verdict.every_event_has_its_list(ledger),
            balance,
            verdict.better_than_popularity(hits),
            verdict.no_error_logged(self._household.errors_logged()),
            verdict.ended_in_order(statuses),
        ]
        if self._options.until_artifacts is not None:
            checks.insert(0, verdict.enough_artifacts(served, self._options.until_artifacts))
        ours, popular = hits.rates() or (0.0, 0.0)
        first = ledger.first_personal
        return Summary(
            ok=all(check.held for check in checks),
            checks=checks,
            seconds=round(time.time() - self._broker_up, 1),
            events=ledger.records,
            lists=ledger.lists,
            reactions=self._shop.reactions,
            artifacts=served,
            hit_rate=round(ours, 4),
            popular_hit_rate=round(popular, 4),
            depth=int(DEPTH),
            by_artifact=[
                ArtifactQuality(name, int(part.events), *(round(rate, 4) for rate in part.rates() or (0.0, 0.0)))
                for name, part in self._watch.by_artifact.items()
            ],
            event_to_list_ms={} if latency is None else {"p50": latency.p50, "p99": latency.p99},
            dead_letters=dict(ledger.dead),
            first_personal_list_seconds=None if first is None else round(first - self._broker_up, 1),
            directory=str(self._household.directory),
        )

    async def _settle(self, session: aiohttp.ClientSession) -> Check:
        """Looks again until nothing is owed and the accounts balance, or patience ends."""
        deadline = time.time() + SETTLE_SECONDS
        while True:
            log_end = await self._watch.log_end()
            await self._watch.look(session)
            samples = self._watch.worker.select("alluvium_events_total")
            outcomes = dict.fromkeys(("applied", "duplicate", "dead"), 0)
            for sample in samples:
                outcomes[sample.labels["outcome"]] = outcomes.get(sample.labels["outcome"], 0) + int(sample.value)
            balance = verdict.accounts_balance(log_end, outcomes, self._watch.ledger, self._bad_sent)
            settled = balance.held and not self._watch.ledger.unanswered
            if settled or time.time() > deadline:
                return balance
            await asyncio.sleep(LOOK_SECONDS)
