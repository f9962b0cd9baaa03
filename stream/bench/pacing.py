"""Events at a steady rate, and when their lists are in a reader's hands."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
from aiokafka import AIOKafkaProducer

from stream.bench.checking import Place
from stream.bench.logs import Sent
from stream.bench.measuring import percentile
from stream.bench.yard import FellError, Run, now
from stream.kafka import producer, reader, topic_partitions
from stream.wire.messages import EventPosition
from stream.wire.topics import EVENTS, RECOMMENDATIONS, REQUESTS

FIRST = 200  # records sent ahead, until their lists are there
FIRST_PATIENCE = 120.0
SETTLE_SECONDS = 5.0  # at the rate, before what counts
WAITING = 2_000  # events under way when as many are sent as are answered
TICK_SECONDS = 0.002  # events that are due are sent together: the generator shares the cores with what it measures
LATE_SECONDS = 30.0  # that lists are waited for at the most: a worker that has fallen behind has lost nothing

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Latency:
    """Milliseconds from just before an event (or request) was sent until its list was in the reader's hands.

    `sent` were to be answered, `missing` were not; `rate` is what was sent a second.
    """

    p50: float
    p95: float
    p99: float
    sent: int
    missing: int
    rate: float

    @classmethod
    def of(cls, sent: Mapping[Key, float], arrived: Mapping[Key, float], missing: int) -> Latency:
        """From the moments at which things were sent and arrived. Raises FellError where nothing did."""
        waits = [1e3 * (arrived[key] - moment) for key, moment in sent.items() if key in arrived]
        if not waits:
            raise FellError("nothing that was sent at a rate was answered")
        span = max(sent.values()) - min(sent.values())
        p50, p95, p99 = (percentile(waits, share) for share in (0.5, 0.95, 0.99))
        return cls(p50, p95, p99, len(sent), missing, (len(sent) - 1) / span if span else 0.0)


class _Seen(msgspec.Struct):
    artifact: str | None
    event: EventPosition | None


class _List(msgspec.Struct):
    user_id: str | None
    request_id: str | None
    provenance: _Seen


@dataclass
class Arrivals:
    """When the first list for each event, the answer to each request, and the first list of each artifact arrived."""

    events: dict[Place, float] = field(default_factory=dict)
    users: dict[str, Place] = field(default_factory=dict)  # the newest event that a list has seen
    requests: dict[str, float] = field(default_factory=dict)
    artifacts: dict[str | None, float] = field(default_factory=dict)

    async def follow(self, run: Run) -> None:
        """Reads lists as they come, until cancelled."""
        decoder = msgspec.json.Decoder(_List)
        async with reader(run.kafka, fetch_max_wait_ms=500) as consumer:
            consumer.assign(await topic_partitions(consumer, run.topic(RECOMMENDATIONS)))
            while True:
                fetched = await consumer.getmany(timeout_ms=1_000)
                moment = now()
                for records in fetched.values():
                    for record in records:
                        self._take(decoder.decode(record.value), moment)

    def swapped(self, seconds: float) -> bool:
        """Whether it is so many seconds ago that lists of a second artifact began to come."""
        return len(self.artifacts) > 1 and now() - max(self.artifacts.values()) >= seconds

    def latency_of_requests(self, asked: Mapping[str, float]) -> Latency:
        """Of these requests; those that are not answered by now are missing. Raises FellError."""
        return Latency.of(asked, self.requests, len(asked.keys() - self.requests.keys()))

    def _take(self, made: _List, moment: float) -> None:
        if made.provenance.artifact not in self.artifacts:
            self.artifacts[made.provenance.artifact] = moment
        if made.request_id is not None:
            self.requests.setdefault(made.request_id, moment)
        elif made.provenance.event is not None and made.user_id is not None:
            place = (made.provenance.event.partition, made.provenance.event.offset)
            self.events.setdefault(place, moment)
            self.users[made.user_id] = max(place, self.users.get(made.user_id, place))


@asynccontextmanager
async def following(run: Run) -> AsyncIterator[Arrivals]:
    """Arrivals while the block lasts; an error of the reader is raised at its end."""
    arrivals = Arrivals()
    task = asyncio.create_task(arrivals.follow(run))
    try:
        yield arrivals
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Pacer:
    """Sends a log's records one by one, and notes when."""

    def __init__(self, run: Run, client: AIOKafkaProducer, records: Sequence[Sent], arrivals: Arrivals) -> None:
        self._run, self._client, self._records, self._arrivals = run, client, records, arrivals
        self._next = self._requests = 0
        self._users: dict[Place, str] = {}
        self.asked: dict[str, float] = {}  # when each request was sent

    @property
    def left(self) -> int:
        """How many records have not been sent."""
        return len(self._records) - self._next

    async def begin(self) -> None:
        """Sends some records and waits for all of their lists. Raises FellError."""
        first = await self.send(FIRST / 1.0, 1.0)
        deadline = now() + FIRST_PATIENCE
        while self._unanswered(first):
            self._run.check()
            if now() > deadline:
                raise FellError(f"{self._run.name} did not answer within {FIRST_PATIENCE:g} s; see {self._run.log}")
            await asyncio.sleep(0.1)

    async def send(
        self, rate: float, seconds: float, until: Callable[[], bool] = lambda: False, requests: float = 0.0
    ) -> dict[Place, float]:
        """Sends for so long, or until told to stop; the moments at which good events were sent, by their places.

        `requests` a second are sent besides, for users whose events have been sent.
        """
        begun, done, asked = now(), 0, 0
        sent: dict[Place, float] = {}
        while self.left and not until() and (passed := now() - begun) < seconds:
            while done < rate * passed and self.left:
                await self._send_next(sent)
                done += 1
            while asked < requests * passed:
                await self._ask()
                asked += 1
            self._run.check()
            await asyncio.sleep(TICK_SECONDS)
        return sent

    async def capacity(self, seconds: float) -> float:
        """The lists a second that come, beside this generator and reader, while some events always wait.

        Returns once all lists are there. Raises FellError.
        """
        begun, answered = now(), self._arrivals.events
        sent: dict[Place, float] = {}
        half: tuple[float, int] | None = None  # the first half is to get there
        first = len(answered)
        while self.left and (moment := now()) < begun + seconds:
            if half is None and moment >= begun + seconds / 2:
                half = moment, len(answered)
            while len(sent) - (len(answered) - first) < WAITING and self.left:
                await self._send_next(sent)
            self._run.check()
            await asyncio.sleep(TICK_SECONDS)
        if half is None:
            raise FellError("the log is too short to measure the capacity")
        rate = (len(answered) - half[1]) / (now() - half[0])
        await self.latency(sent)
        return rate

    async def _send_next(self, sent: dict[Place, float]) -> None:
        """Sends one record; a good event is added to what was sent."""
        record = self._records[self._next]
        self._next += 1
        if record.user is not None:
            place = record.partition, record.offset
            self._users[place] = record.user
            sent[place] = now()
        await self._client.send(self._run.topic(EVENTS), record.value, record.key, record.partition)

    async def _ask(self) -> None:
        record = self._records[(7 * self._requests) % self._next]
        self._requests += 1
        request_id = f"bench-request-{self._requests}"
        value = msgspec.json.encode({"request_id": request_id, "kind": "user", "user_id": record.key.decode()})
        self.asked[request_id] = now()
        await self._client.send(self._run.topic(REQUESTS), value, record.key, record.partition)

    async def latency(self, sent: Mapping[Place, float]) -> Latency:
        """Of these events, once their lists are there or are taken for lost. Raises FellError."""
        deadline = now() + LATE_SECONDS
        while now() < deadline and self._unanswered(sent):
            await asyncio.sleep(0.05)
        return Latency.of(sent, self._arrivals.events, self._unanswered(sent))

    def _unanswered(self, sent: Iterable[Place]) -> int:
        """How many events have no list, nor share a later one of their user."""
        arrivals, users = self._arrivals, self._users
        missing = (place for place in sent if place not in arrivals.events)
        return sum(arrivals.users.get(users[place], (-1, -1)) < place for place in missing)


@asynccontextmanager
async def pacing(run: Run, records: Sequence[Sent]) -> AsyncIterator[tuple[Pacer, Arrivals]]:
    """A pacer whose contender has begun to answer, at its settled pace."""
    async with following(run) as arrivals, producer(run.kafka, linger_ms=0) as client:
        pacer = Pacer(run, client, records, arrivals)
        await pacer.begin()
        with no_collections():
            yield pacer, arrivals


@contextmanager
def no_collections() -> Iterator[None]:
    """The generator and the reader do not stop to collect garbage: they would measure themselves."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
