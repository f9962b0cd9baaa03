"""`alluvium dead-letters list|replay`: look at bad records, repair them, put them back."""

from __future__ import annotations

import heapq
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from rich.table import Column, Table

from stream.cli.common import WRONG_USAGE, JsonOption, fail, load_settings, print_json, print_json_line, run, stdout
from stream.letters.reading import Letter, Line, RepairError, Wanted, as_line, read_letters, read_repaired
from stream.letters.replaying import AnotherReplayError, Replay
from stream.letters.replaying import replay as put_back
from stream.settings import KafkaSettings, Settings
from stream.wire import topics
from stream.wire.times import to_iso, to_milliseconds

SHOWN = 50  # in the table, unless --limit says otherwise
BEGINNING = 100  # characters of a value


class Origin(StrEnum):
    """Topics that letters come from."""

    EVENTS, ITEMS, REQUESTS = topics.EVENTS, topics.ITEMS, topics.REQUESTS


ReasonOption = Annotated[list[str] | None, typer.Option("--reason", help="Only these error codes; may be repeated.")]
TopicOption = Annotated[list[Origin] | None, typer.Option("--topic", help="Only from this topic; may be repeated.")]
SinceOption = Annotated[str | None, typer.Option(help="Only letters written at this time (ISO 8601) or later.")]
UntilOption = Annotated[str | None, typer.Option(help="Only letters written at this time or before.")]
PartitionOption = Annotated[list[int] | None, typer.Option("--partition", help="Only this partition; may be repeated.")]

app = typer.Typer(no_args_is_help=True, help="Records that could not be read: look at them, put them back.")


def register(parent: typer.Typer) -> None:
    """Adds the commands."""
    parent.add_typer(app, name="dead-letters")


@app.command("list")
def list_letters(
    context: typer.Context,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    partition: PartitionOption = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help=f"The newest so many; default: {SHOWN}, all with --json.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show dead letters with their reasons, oldest first; --json prints JSON Lines that `replay --from-file` reads."""
    settings = load_settings(context)
    wanted = _wanted(settings.kafka, reason, topic, since, until, partition)
    with _errors(settings):
        if json and limit is None:
            run(_print_all(settings, wanted))
            return
        count, letters = run(_newest(settings, wanted, limit or SHOWN))
    if json:
        for letter in letters:
            print_json_line(as_line(letter))
    else:
        _print_table(count, letters)


@app.command("replay")
def replay(
    context: typer.Context,
    reason: ReasonOption = None,
    topic: TopicOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    partition: PartitionOption = None,
    from_file: Annotated[
        Path | None,
        typer.Option(help="Repaired letters, edited output of `list --json`; `-`: standard input.", allow_dash=True),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Send nothing, say what would be sent.")] = False,
    json: JsonOption = False,
) -> None:
    """Put dead letters that are valid by now, or were repaired, back to the topics they came from, each once."""
    settings = load_settings(context)
    wanted = _wanted(settings.kafka, reason, topic, since, until, partition)
    now = time.time_ns() // 1_000_000
    with _errors(settings):
        repaired = None if from_file is None else _read(from_file)
        result = run(put_back(settings, wanted, now, repaired=repaired, dry_run=dry_run))
    if json:
        print_json(result)
    else:
        stdout.print(_sentence(result), markup=False)


@contextmanager
def _errors(settings: Settings) -> Iterator[None]:
    try:
        yield
    except RepairError as error:
        fail(str(error), WRONG_USAGE)
    except AnotherReplayError as error:
        fail(str(error))
    except (KafkaError, OSError) as error:
        fail(f"{settings.kafka.bootstrap_servers}: {error}")


def _wanted(
    kafka: KafkaSettings,
    reasons: list[str] | None,
    origins: list[Origin] | None,
    since: str | None,
    until: str | None,
    partitions: list[int] | None,
) -> Wanted:
    full = [kafka.topic_prefix + name for name in origins or ()]
    until_ms = None if until is None else _moment("--until", until)
    return Wanted(reasons or (), full, 0 if since is None else _moment("--since", since), until_ms, partitions or ())


def _moment(option: str, text: str) -> int:
    moment = to_milliseconds(text)
    if moment is None or moment < 0:
        fail(f"{option} {text!r} is no ISO 8601 time", WRONG_USAGE)
    return moment


def _read(file: Path) -> dict[str, Line]:
    if str(file) == "-":
        return read_repaired(sys.stdin.buffer)
    if not file.is_file():
        fail(f"{file} does not exist", WRONG_USAGE)
    with file.open("rb") as lines:
        return read_repaired(lines)


async def _print_all(settings: Settings, wanted: Wanted) -> None:
    async for letter in read_letters(settings.kafka, wanted):
        print_json_line(as_line(letter))


async def _newest(settings: Settings, wanted: Wanted, limit: int) -> tuple[int, list[Letter]]:
    """How many letters there are, and the newest of them, oldest first."""
    count, newest = 0, list[tuple[int, int, Letter]]()
    async for letter in read_letters(settings.kafka, wanted):
        heapq.heappush(newest, (letter.time, count, letter))
        if len(newest) > limit:
            heapq.heappop(newest)
        count += 1
    return count, [letter for _time, _number, letter in sorted(newest, key=lambda entry: entry[:2])]


def _print_table(count: int, letters: list[Letter]) -> None:
    if not letters:
        stdout.print("no dead letters")
        return
    table = Table(Column(no_wrap=True), Column(overflow="fold"), show_header=False, box=None)
    for letter in letters:
        table.add_row(to_iso(letter.time), f"[bold]{_plain(letter.reason)}[/]  {_plain(letter.source)}")
        table.add_row("", _plain(letter.detail))
        table.add_row("", f"[dim]{_plain(_beginning(letter.value))}[/]", end_section=True)
    stdout.print(table)
    if count > len(letters):
        stdout.print(f"the newest {len(letters):,} of {count:,}; --limit shows more")


def _beginning(value: bytes | None) -> str:
    if value is None:
        return "(null)"
    text = value[: 4 * BEGINNING].decode(errors="replace")
    return text[:BEGINNING] + ("…" if len(text) > BEGINNING or len(value) > 4 * BEGINNING else "")


def _plain(text: str) -> str:
    """Strangers' text without what a terminal would obey, nor what rich would."""
    return "".join(letter if letter.isprintable() else "·" for letter in text).replace("[", r"\[")


def _sentence(result: Replay) -> str:
    parts = [f"{result.sent:,} {'would be sent' if result.dry_run else 'sent'}"]
    for count, what in (
        (result.sent_before, "sent before"),
        (result.superseded, "superseded by newer records"),
        (result.too_old, "too old to know whether they were sent before"),
        (result.cut, "cut: the letter does not hold the whole value"),
    ):
        if count:
            parts.append(f"{count:,} {what}")
    if result.still_bad:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(result.still_bad.items()))
        parts.append(f"{sum(result.still_bad.values()):,} still bad ({reasons})")
    return "; ".join(parts)
