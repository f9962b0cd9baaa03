"""Dead letters as people look at them and repair them: read from the topic, printed as JSON Lines, read back."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Collection, Iterable
from typing import NamedTuple

import msgspec
from aiokafka.structs import ConsumerRecord

from stream.kafka import COMMITTED, read_topic
from stream.settings import KafkaSettings
from stream.wire.dead_letters import DETAIL, ERROR, OURS, TRUNCATED, Headers, original_headers, source_of
from stream.wire.times import to_iso
from stream.wire.topics import DEAD_LETTERS


class RepairError(ValueError):
    """A line of repaired letters cannot be read. Operator action: correct the line that the message names."""


class Letter(NamedTuple):
    """A dead letter: the bad record's key, value and own headers, where it stood, and why it is bad.

    `time` is the letter's, epoch ms; `cut` says that the value is not whole.
    """

    topic: str
    partition: int
    offset: int
    time: int
    reason: str
    detail: str
    cut: bool
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def source(self) -> str:
        """Where the bad record stands: topic-partition-offset."""
        return f"{self.topic}-{self.partition}-{self.offset}"


class Wanted(NamedTuple):
    """Which letters: by reason, by topic of origin (its full name), by time (epoch ms, inclusive), by partition."""

    reasons: Collection[str] = ()
    topics: Collection[str] = ()
    since: int = 0
    until: int | None = None
    partitions: Collection[int] = ()

    def has(self, letter: Letter) -> bool:
        """Whether a letter is among them."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.topics or letter.topic in self.topics)
            and (not self.partitions or letter.partition in self.partitions)
            and letter.time >= self.since
            and (self.until is None or letter.time <= self.until)
        )


class Base64(msgspec.Struct, frozen=True):
    """Bytes that are no UTF-8 text."""

    base64: str


Octets = str | Base64 | None


class Line(msgspec.Struct, frozen=True):
    """A letter as JSON. Of a repaired one, `source`, `key`, `value` and `headers` count."""

    source: str
    time: str = ""
    reason: str = ""
    detail: str = ""
    cut: bool = False
    key: Octets = None
    value: Octets = None
    headers: list[tuple[str, Octets]] = []


def letter_of(record: ConsumerRecord) -> Letter | None:
    """The letter in a record of `dead-letters`; None for a record that is none of ours."""
    source = source_of(record)
    if source is None:
        return None
    ours = {name: (value or b"").decode(errors="replace") for name, value in record.headers}  # the last of a name
    headers = [(name, value) for name, value in original_headers(record) if not name.startswith(OURS)]
    cut = record.headers[-1][0] == TRUNCATED  # one further ahead is the bad record's own
    return Letter(
        *source, record.timestamp, ours.get(ERROR, ""), ours.get(DETAIL, ""), cut,
        record.key, record.value, headers,
    )  # fmt: skip


async def read_letters(kafka: KafkaSettings, wanted: Wanted) -> AsyncIterator[Letter]:
    """The letters that stand in the topic now, each partition in order. Raises KafkaError."""
    async for records in read_topic(kafka, kafka.topic_prefix + DEAD_LETTERS, wanted.since, isolation=COMMITTED):
        for record in records:
            letter = letter_of(record)
            if letter is not None and wanted.has(letter):
                yield letter


def as_line(letter: Letter) -> Line:
    """A letter as `dead-letters list --json` prints it."""
    headers = [(name, _octets(value)) for name, value in letter.headers]
    return Line(
        letter.source, to_iso(letter.time), letter.reason, letter.detail, letter.cut,
        _octets(letter.key), _octets(letter.value), headers,
    )  # fmt: skip


def read_repaired(lines: Iterable[bytes]) -> dict[str, Line]:
    """Repaired letters by source, from JSON Lines. Raises RepairError naming the line."""
    repaired: dict[str, Line] = {}
    decoder = msgspec.json.Decoder(Line)
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            line = decoder.decode(text)
            repair(_NOTHING, line)
        except (msgspec.DecodeError, ValueError) as error:
            raise RepairError(f"line {number}: {error}") from None
        if line.source in repaired:
            raise RepairError(f"line {number}: {line.source} was named before")
        repaired[line.source] = line
    return repaired


def repair(letter: Letter, line: Line) -> Letter:
    """The letter with key, value and headers of a repaired line. Raises ValueError for base64 that is none."""
    headers = [(name, _bytes(value)) for name, value in line.headers if not name.startswith(OURS)]
    return letter._replace(key=_bytes(line.key), value=_bytes(line.value), headers=headers, cut=False)


_NOTHING = Letter("", 0, 0, 0, "", "", False, None, None, [])


def _octets(value: bytes | None) -> Octets:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Base64(base64.b64encode(value).decode())


def _bytes(value: Octets) -> bytes | None:
    if value is None:
        return None
    return base64.b64decode(value.base64, validate=True) if isinstance(value, Base64) else value.encode()
