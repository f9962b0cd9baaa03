"""Where contenders run: one real broker, a directory, topics of each run's own, and what can be seen from outside."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import tomli_w

from stream.announcements import announce
from stream.bench.artifact import Artifact
from stream.bench.checking import Listed
from stream.bench.logs import Sent
from stream.kafka import COMMITTED, admin_client, producer, read_topic
from stream.settings import ENVIRONMENT_PREFIX, KafkaSettings, Settings
from stream.shop.broker import HOST, Broker, free_port
from stream.shop.children import end, last_lines, spawn
from stream.shop.delivery import Delivery, Message
from stream.wire.dead_letters import source_of
from stream.wire.messages import EventPosition, Item
from stream.wire.topics import DEAD_LETTERS, EVENTS, ITEMS, RECOMMENDATIONS, create_topics

AT_ONCE = 20_000  # messages handed to the producer
TICKS = os.sysconf("SC_CLK_TCK")


class FellError(RuntimeError):
    """A contender ended by itself or did not begin. Operator action: read its log, which the message names."""


class _Seen(msgspec.Struct):
    event: EventPosition | None


class _List(msgspec.Struct):
    user_id: str
    provenance: _Seen


@dataclass
class Yard:
    """A broker for all runs of one bench, and a directory."""

    directory: Path
    broker: Broker
    runs: int = 0


@dataclass
class Run:
    """One contender in one round: its settings, topics, directory and process."""

    yard: Yard
    name: str
    settings: Settings
    directory: Path
    process: subprocess.Popen[bytes] | None = None
    others: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def kafka(self) -> KafkaSettings:
        """Where it reads and writes."""
        return self.settings.kafka

    @property
    def log(self) -> Path:
        """What its process says."""
        return self.directory / "log"

    @property
    def settings_file(self) -> Path:
        """The settings for commands of ours."""
        return self.directory / "alluvium.toml"

    def topic(self, name: str) -> str:
        """A topic's full name."""
        return self.kafka.topic_prefix + name

    async def send_events(self, sent: Sequence[Sent]) -> None:
        """Writes the log to `events`."""
        topic = self.topic(EVENTS)
        await self._send([Message(topic, record.key, record.value) for record in sent])

    async def send_items(self, items: Sequence[Item]) -> None:
        """Writes the catalogue to `items`."""
        topic, encode = self.topic(ITEMS), msgspec.json.encode
        await self._send([Message(topic, item.item_id.encode(), encode(item)) for item in items])

    async def announce(self, artifact: Artifact) -> None:
        """Makes an artifact the one that workers serve."""
        async with producer(self.kafka) as client:
            await announce(client, self.kafka, artifact.announcement())

    async def _send(self, messages: Sequence[Message]) -> None:
        async with producer(self.kafka) as client:
            delivery = Delivery(client, self.kafka)
            for start in range(0, len(messages), AT_ONCE):
                await (await delivery.send(messages[start : start + AT_ONCE]))

    def start(self, command: Sequence[str]) -> None:
        """Starts the contender."""
        self.process = self._spawned(command)

    def start_beside(self, command: Sequence[str]) -> None:
        """Starts another process, which ends with the run."""
        self.others.append(self._spawned(command))

    def _spawned(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
        environment = {**inherited, "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}
        orphan = signal.SIGKILL
        return spawn(command, self.log, environment=environment, orphan_signal=orphan)

    def check(self) -> None:
        """Raises FellError where a process has ended."""
        for process in [*([] if self.process is None else [self.process]), *self.others]:
            status = process.poll()
            if status is not None:
                said = last_lines(self.log)
                raise FellError(f"{self.name} ended by itself with status {status}; its log ends:\n{said}")

    def cpu_seconds(self) -> float:
        """The processor time that the process has used, 0 where the system does not tell."""
        if self.process is None:
            return 0.0
        try:
            text = Path(f"/proc/{self.process.pid}/stat").read_text("ascii", "replace")
        except OSError:
            return 0.0
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    async def wait(self) -> int:
        """The exit status, once the process has ended by itself."""
        return 0 if self.process is None else await asyncio.to_thread(self.process.wait)

    async def stop(self) -> None:
        """Ends all processes."""
        processes = [*self.others, *([] if self.process is None else [self.process])]
        self.others, self.process = [], None
        for process in processes:
            await asyncio.to_thread(end, process)

    async def lists(self) -> list[Listed]:
        """All lists that were made for events."""
        decoder, found = msgspec.json.Decoder(_List), []
        async for records in read_topic(self.kafka, self.topic(RECOMMENDATIONS)):
            for record in records:
                made = decoder.decode(record.value)
                seen = made.provenance.event
                found.append(Listed(made.user_id, (-1, -1) if seen is None else (seen.partition, seen.offset)))
            await asyncio.sleep(0)
        return found

    async def letters(self) -> list[tuple[int, int]]:
        """The places of the events for which there is a dead letter."""
        found = []
        async for records in read_topic(self.kafka, self.topic(DEAD_LETTERS), isolation=COMMITTED):
            for record in records:
                place = source_of(record)
                if place is not None:
                    found.append(place[1:])
        return found


@asynccontextmanager
async def run_of(yard: Yard, name: str, settings: Settings) -> AsyncIterator[Run]:
    """A run with empty topics of its own, deleted at the end as its process is ended."""
    yard.runs += 1
    prefix = f"bench-{yard.runs}-{name}."
    directory = yard.directory / f"{yard.runs:03}-{name}"
    directory.mkdir()
    run = Run(yard, name, _with_places(settings, yard.broker.bootstrap_servers, prefix, yard.directory), directory)
    run.settings_file.write_text(tomli_w.dumps(_plain(run.settings)), "utf-8")
    async with admin_client(run.kafka) as admin:
        await create_topics(admin, run.kafka, run.settings.worker.group_id)
    try:
        yield run
    finally:
        await run.stop()
        async with admin_client(run.kafka) as admin:
            await admin.delete_topics([topic for topic in await admin.list_topics() if prefix in topic])


def _with_places(settings: Settings, servers: str, prefix: str, directory: Path) -> Settings:
    """The user's settings at the bench's own broker, port, topics and artifacts."""
    kafka = KafkaSettings(bootstrap_servers=servers, topic_prefix=prefix, partitions=settings.kafka.partitions)
    replace = msgspec.structs.replace
    store = replace(settings.artifacts, url=str(directory / "artifacts"), cache_dir=str(directory / "cache"))
    worker = replace(settings.worker, http_host=HOST, http_port=free_port(), group_id=f"{prefix}group")
    return replace(settings, kafka=kafka, worker=worker, artifacts=store)


def _plain(settings: Settings) -> dict[str, object]:
    plain: dict[str, object] = msgspec.to_builtins(settings)
    return plain


def now() -> float:
    """The clock of all measurements."""
    return time.monotonic()
