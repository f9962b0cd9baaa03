"""Puts repaired or by now valid dead letters back to the topics they came from, each once however often it is tried.

One replay at a time: each begins with the same transactional id, and from that moment Kafka refuses those before it,
whose records all stand by then and are seen. Readers of these topics look at every record, of aborted transactions too.

A record put back carries the source of its letter in a header. A replay reads its target from the time of the oldest
letter on and leaves out what stands there already, so one that was killed in between goes on where it was. An event
without an id gets the one that it had by default, its source, which user state knows to apply once. In a compacted
topic a newer record of the key says the same, and that the letter is out of date.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidProducerEpoch, ProducerFenced

from stream.kafka import admin_client, producer, read_topic
from stream.letters.reading import Letter, Line, RepairError, Wanted, read_letters, repair
from stream.settings import KafkaSettings, Settings
from stream.wire.dead_letters import REPLAYED
from stream.wire.decoding import NOT_JSON, TOO_LARGE, Decoder, Rejection
from stream.wire.partitioner import PARTITIONERS
from stream.wire.topics import EVENTS, ITEMS, REQUESTS, topic_config

SKEW_MS = 3_600_000  # clocks of those who wrote letters and of those who put them back may differ by this much
TOGETHER = 200  # records of one transaction
REPLAYS = "dead-letters-replay"  # the transactional id, behind the prefix of topics


class AnotherReplayError(RuntimeError):
    """Another replay was started while this one ran. Operator action: none, or run it again once that has ended."""


class Replay(msgspec.Struct):
    """What came of the letters; each is counted once."""

    dry_run: bool
    sent: int = 0  # or would be, in a dry run
    sent_before: int = 0
    superseded: int = 0  # the catalogue has a newer record of the item
    too_old: int = 0  # whether they were sent before can be known no more
    cut: int = 0  # the letter does not hold the whole value
    still_bad: dict[str, int] = {}

    def bad(self, reason: str) -> None:
        """One more that is no valid message."""
        self.still_bad[reason] = self.still_bad.get(reason, 0) + 1


async def replay(
    settings: Settings, wanted: Wanted, now: int, *, repaired: dict[str, Line] | None = None, dry_run: bool = False
) -> Replay:
    """Puts back those of the wanted letters that are valid now; with `repaired`, those alone, as they are there.

    Raises RepairError for a repaired line without a letter, AnotherReplayError, KafkaError.
    """
    result = Replay(dry_run)
    if dry_run:
        result.sent = len(await _letters_due(settings, wanted, now, repaired, result))
        return result
    kafka = settings.kafka
    try:
        async with producer(kafka, transactional_id=kafka.topic_prefix + REPLAYS) as client:
            async with client.transaction():  # empty: of what a replay before sends, Kafka takes nothing from now on
                pass
            due = await _letters_due(settings, wanted, now, repaired, result)
            await _send(client, kafka, due)
    except (ProducerFenced, InvalidProducerEpoch):
        raise AnotherReplayError(
            "another replay has begun and goes on with the same letters: what this one has sent counts"
        ) from None
    result.sent = len(due)
    return result


async def _letters_due(
    settings: Settings, wanted: Wanted, now: int, repaired: dict[str, Line] | None, result: Replay
) -> list[Letter]:
    """Those to send."""
    kafka = settings.kafka
    valid = await _valid(settings, wanted, now, repaired, result)
    targets = {letter.topic for letter in valid}
    async with admin_client(kafka) as admin:
        retention = await topic_config(admin, sorted(targets), "retention.ms", "-1")
        tombstones = await topic_config(admin, sorted(targets), "delete.retention.ms", "-1")
    due: list[Letter] = []
    for target in sorted(targets):
        there = [letter for letter in valid if letter.topic == target]
        if target == kafka.topic_prefix + ITEMS:
            due += await _due_items(kafka, target, there, now - int(tombstones[target]), result)
        else:
            kept = int(retention[target])
            due += await _due(kafka, target, there, now - kept if kept >= 0 else 0, result)
    return due


async def _valid(
    settings: Settings, wanted: Wanted, now: int, repaired: dict[str, Line] | None, result: Replay
) -> list[Letter]:
    """Those that decode under the present settings; of the others, of which there may be millions, none is kept."""
    decoder, valid, seen = Decoder(settings.events), list[Letter](), set[str]()
    async for letter in read_letters(settings.kafka, wanted):
        source = letter.source
        if source in seen or (repaired is not None and source not in repaired):
            continue
        seen.add(source)
        whole = letter if repaired is None else repair(letter, repaired[source])
        if whole.topic == settings.kafka.topic_prefix + EVENTS and not whole.cut:
            whole = whole._replace(value=identified(whole))
        if _is_valid(whole, settings.kafka, decoder, now, result):
            valid.append(whole)
    strangers = [source for source in repaired or () if source not in seen]
    if strangers:
        raise RepairError(f"no such dead letter, or not among those asked for: {', '.join(strangers[:5])}")
    return valid


def _is_valid(letter: Letter, kafka: KafkaSettings, decoder: Decoder, now: int, result: Replay) -> bool:
    if letter.cut:
        result.cut += 1
        return False
    problem = check(letter, kafka, decoder, now)
    if problem is not None:
        result.bad(problem.code)
    return problem is None


def check(letter: Letter, kafka: KafkaSettings, decoder: Decoder, now: int) -> Rejection | None:
    """What is wrong with a letter as a message of its topic, None if nothing is."""
    if len(letter.key or b"") > decoder.max_bytes:
        return Rejection(TOO_LARGE, f"the key has {len(letter.key or b'')} bytes")
    name = letter.topic.removeprefix(kafka.topic_prefix)
    decoded: Any
    if name == EVENTS:
        decoded = decoder.event(letter.value, now)
    elif name == ITEMS:
        decoded = decoder.catalogue_entry(letter.key, letter.value)
    elif name == REQUESTS:
        decoded = decoder.request(letter.value)
    else:
        decoded = Rejection(NOT_JSON, f"{letter.topic} is none of our topics")
    return decoded if isinstance(decoded, Rejection) else None


def identified(letter: Letter) -> bytes | None:
    """An event's value with the id and the time that it had by default, where it says none; others as they are."""
    try:
        fields = msgspec.json.decode(letter.value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return letter.value
    if not isinstance(fields, dict):
        return letter.value
    missing = {
        name: default
        for name, default in (("event_id", letter.source), ("timestamp", letter.time))
        if fields.get(name) is None
    }
    return msgspec.json.encode(fields | missing) if missing else letter.value


async def _due(kafka: KafkaSettings, topic: str, letters: list[Letter], oldest: int, result: Replay) -> list[Letter]:
    """Those without a record of theirs in a topic that keeps records since `oldest`."""
    young = [letter for letter in letters if letter.time >= oldest]
    result.too_old += len(letters) - len(young)
    since = max(1, min((letter.time for letter in young), default=1) - SKEW_MS)
    standing: set[str] = set()
    if young:
        async for records in read_topic(kafka, topic, since):
            for record in records:
                standing.update(value.decode(errors="replace") for name, value in record.headers if name == REPLAYED)
    due = [letter for letter in young if letter.source not in standing]
    result.sent_before += len(young) - len(due)
    return due


class _Newest(NamedTuple):
    """The newest record of a key: where and when, and the letter it was put back from, if it was."""

    partition: int
    offset: int
    time: int
    replayed: str | None

    def is_after(self, letter: Letter) -> bool:
        """Whether it came after the letter's record; on another partition (the key was repaired) its time says so."""
        return self.offset > letter.offset if self.partition == letter.partition else self.time > letter.time


async def _due_items(
    kafka: KafkaSettings, topic: str, letters: list[Letter], oldest: int, result: Replay
) -> list[Letter]:
    """Those of which the catalogue knows nothing newer.

    Of an item without any record a tombstone older than `oldest` may have gone: its letters are too old by then.
    """
    keys = {letter.key for letter in letters}
    newest: dict[bytes | None, _Newest] = {}
    async for records in read_topic(kafka, topic):
        for record in records:
            if record.key in keys:
                marks = [value.decode(errors="replace") for name, value in record.headers if name == REPLAYED]
                newest[record.key] = _Newest(
                    record.partition, record.offset, record.timestamp, marks[-1] if marks else None
                )
    due: dict[bytes | None, Letter] = {}
    for letter in sorted(letters, key=lambda letter: letter.offset):
        known = newest.get(letter.key)
        if known is not None and known.replayed == letter.source:
            result.sent_before += 1
        elif known is not None and known.is_after(letter):
            result.superseded += 1
        elif known is None and letter.time < oldest:
            result.too_old += 1
        else:
            result.superseded += letter.key in due
            due[letter.key] = letter
    return list(due.values())


async def _send(client: AIOKafkaProducer, kafka: KafkaSettings, letters: Sequence[Letter]) -> None:
    """In the order of their sources, so that a user's events keep theirs."""
    ordered = sorted(letters, key=lambda letter: (letter.topic, letter.partition, letter.offset))
    counts = {topic: len(await client.partitions_for(topic)) for topic in {letter.topic for letter in letters}}
    for start in range(0, len(ordered), TOGETHER):
        async with client.transaction():
            deliveries: list[asyncio.Future[Any]] = []
            try:
                for letter in ordered[start : start + TOGETHER]:
                    partition = home(letter, kafka, counts[letter.topic])
                    headers = [*letter.headers, (REPLAYED, letter.source.encode())]
                    deliveries.append(
                        await client.send(
                            letter.topic, letter.value, key=letter.key, partition=partition, headers=headers
                        )
                    )
            finally:
                outcomes = await asyncio.gather(*deliveries, return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome


def home(letter: Letter, kafka: KafkaSettings, partitions: int) -> int:
    """The partition to put a letter back to: its key's, or the one it was on where nobody can say."""
    partition = PARTITIONERS[kafka.partitioner]
    if letter.key is None or partition is None:
        return letter.partition
    return partition(letter.key, partitions)
