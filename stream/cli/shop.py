"""`alluvium replay FILE` and `alluvium simulate`: a shop's log, or a simulated shop, into Kafka."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from aiokafka.errors import KafkaError
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from stream.cli.common import WRONG_USAGE, JsonOption, fail, load_settings, print_json, run, stderr, stdout
from stream.shop.datasets import DATASETS, layout_of
from stream.shop.interactions import Parse, map_columns
from stream.shop.log_file import Plan, Rejects, Status
from stream.shop.rows import RowFile
from stream.wire.times import to_iso
from stream.wire.topics import TopicsError

if TYPE_CHECKING:
    from stream.shop.simulator import Simulator

COLUMNS = ("user", "item", "time", "type", "session", "price", "quantity", "currency", "title", "category", "brand")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("replay")(replay)
    app.command("simulate")(simulate)


def replay(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV, TSV, Parquet or JSON Lines, gzip or not.", dir_okay=False)],
    dataset: Annotated[str | None, typer.Option(help=f"A known data set: {', '.join(DATASETS)}.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Or the columns: user=…,item=…,time=… and any of " + ", ".join(COLUMNS[3:]) + ".")
    ] = None,
    no_header: Annotated[
        bool, typer.Option("--no-header", help="Columns are numbers from 1, the file has no header.")
    ] = False,
    event_type: Annotated[str, typer.Option(help="Event type of a file without a type column.")] = "click",
    items: Annotated[Path | None, typer.Option(help="A file of items (titles, categories) to send first.")] = None,
    speed: Annotated[str, typer.Option(help="`real`, a factor such as 60, or `max`.")] = "max",
    order: Annotated[str | None, typer.Option(help="`time` or `file`; default: what the data set needs.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after this many events.")] = None,
    shift_to_now: Annotated[bool, typer.Option("--shift-to-now", help="Give events times of today.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew, whatever was sent before.")] = False,
    rejects: Annotated[Path | None, typer.Option(help="Where to list rejected rows (JSON Lines).")] = None,
    json: JsonOption = False,
) -> None:
    """Send a log from a file to the events topic; a stopped replay goes on where it was.

    Rows that cannot be an event are counted by reason and listed with their line numbers. Exit code 0 also when there
    were such rows; 1 when Kafka did not take everything.
    """
    from stream.shop.resuming import replay as run_replay  # noqa: PLC0415  (Kafka's client takes a while to load)

    settings = load_settings(context)
    try:
        rows = _existing(file)
        reading = f"dataset={dataset}" if dataset else f"columns={columns},type={event_type},header={not no_header}"
        parse, names, sort = _named(dataset, rows) if dataset else _mapped(columns, event_type, no_header, rows)
        plan = Plan(
            rows,
            parse,
            names,
            sort=_sorting(order, sort),
            speed=_speed(speed),
            limit=limit,
            items=None if items is None else _existing(items).path,
            shift_to_now=shift_to_now,
        )
        with _Bar(limit) as bar:
            reading += ",sorted" if plan.sort else ""
            work = run_replay(plan, settings, reading=reading, restart=restart, rejects_file=rejects, report=bar.show)
            status, listed = run(work)
    except ValueError as error:
        fail(str(error), WRONG_USAGE)
    except TopicsError as error:
        fail(str(error))
    except (KafkaError, OSError) as error:
        fail(f"Kafka at {settings.kafka.bootstrap_servers}: {error}; the same command again goes on where this stopped")
    result = _result(file, status, listed, bar.seconds)
    if json:
        print_json(result)
    else:
        _print_result(result, listed)


def simulate(
    context: typer.Context,
    rate: Annotated[float, typer.Option(min=0.1, help="Events per second.")] = 100.0,
    users: Annotated[int, typer.Option(min=10, help="Shoppers.")] = 2_000,
    items: Annotated[int, typer.Option(min=200, help="Goods; a tenth of them arrives over time.")] = 2_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same shop.")] = 7,
    duration: Annotated[float | None, typer.Option(min=0.1, help="Seconds; default: until Ctrl-C.")] = None,
    new_items: Annotated[float, typer.Option(min=0, help="New items per minute.")] = 10.0,
    json: JsonOption = False,
) -> None:
    """Run a simulated shop: events and items to Kafka, shoppers who react to the lists they receive."""
    from stream.shop.simulator import Simulator  # noqa: PLC0415  (Kafka's client takes a while to load)
    from stream.shop.world import World  # noqa: PLC0415

    settings = load_settings(context)
    world = World(seed, items, users)
    shop = Simulator(settings.kafka, world, seed=seed, rate=rate, new_items_per_minute=new_items)
    stderr.print(f"simulating {users:,} shoppers of {items:,} goods at {rate:g} events/s; Ctrl-C ends it")
    try:
        run(_simulate(shop, duration))
    except TopicsError as error:
        fail(str(error))
    except (KafkaError, OSError) as error:
        fail(f"Kafka at {settings.kafka.bootstrap_servers}: {error}")
    counts = {"events": shop.events, "items": shop.items, "lists": shop.lists, "reactions": shop.reactions}
    if json:
        print_json(counts)
    else:
        stdout.print(", ".join(f"{count:,} {name}" for name, count in counts.items()))


async def _simulate(shop: Simulator, duration: float | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await shop.run(stop, duration)


def _existing(file: Path) -> RowFile:
    if not file.is_file():
        raise ValueError(f"{file} does not exist")
    return RowFile(file)


def _named(dataset: str, rows: RowFile) -> tuple[Parse, tuple[str, ...] | None, bool]:
    if dataset not in DATASETS:
        raise ValueError(f"unknown data set {dataset!r}; known: {', '.join(DATASETS)}; or use --columns")
    layout = layout_of(dataset, rows)
    return layout.parse(rows), None if layout.header else layout.columns, not layout.in_time_order


def _mapped(
    columns: str | None, event_type: str, no_header: bool, rows: RowFile
) -> tuple[Parse, tuple[str, ...] | None, bool]:
    if columns is None:
        raise ValueError("say how to read the file: --dataset NAME or --columns user=…,item=…,time=…")
    mapping = dict(part.partition("=")[::2] for part in columns.split(","))
    unknown = [name for name in mapping if name not in COLUMNS]
    missing = [name for name in COLUMNS[:3] if not mapping.get(name)]
    if unknown or missing:
        wrong = f"unknown: {', '.join(unknown)}" if unknown else f"missing: {', '.join(missing)}"
        raise ValueError(f"--columns {wrong}; it is user=…,item=…,time=… and any of {', '.join(COLUMNS[3:])}")
    names = tuple(str(number) for number in range(1, len(rows.first) + 1)) if no_header else None
    absent = [column for column in mapping.values() if column not in (names or [name.strip() for name in rows.first])]
    if absent:
        raise ValueError(f"{rows.path.name} has no column {absent[0]!r}; its first row is {', '.join(rows.first[:20])}")
    return map_columns(mapping, event_type), names, False


def _sorting(order: str | None, default: bool) -> bool:
    if order not in (None, "time", "file"):
        raise ValueError(f"--order is time or file, not {order!r}")
    return default if order is None else order == "time"


def _speed(text: str) -> float | None:
    if text in ("max", "real"):
        return None if text == "max" else 1.0
    try:
        factor = float(text.removesuffix("x"))
    except ValueError:
        factor = math.nan
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(f"--speed is real, max or a factor above 0, not {text!r}")
    return factor


class _Bar:
    """A progress bar on a terminal's standard error, nothing when that is piped."""

    def __init__(self, limit: int | None) -> None:
        parts = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[facts]}"),
        )
        self._progress = Progress(
            *parts, TimeElapsedColumn(), TimeRemainingColumn(), console=stderr, disable=not stderr.is_terminal
        )
        self._task = self._progress.add_task("reading", total=1.0, facts="")
        self._limit = limit
        self._begun = time.monotonic()
        self.seconds = 0.0

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.monotonic() - self._begun
        self._progress.stop()

    def show(self, status: Status) -> None:
        rejected = sum(status.rejected.values())
        sorted_first = status.fraction >= 1.0 or self._limit is not None
        done = status.events / (self._limit or max(1, status.rows)) if sorted_first else status.fraction
        facts = f"{status.events:,} events" + (f", {rejected:,} rejected" if rejected else "")
        facts += f", at {to_iso(status.at)[:16]}" if status.at else ""
        self._progress.update(self._task, description=status.phase, completed=min(1.0, done), facts=facts)


def _result(file: Path, status: Status, rejects: Rejects, seconds: float) -> dict[str, Any]:
    sent = status.events - status.resumed_from
    return {
        "file": str(file),
        "rows": status.rows,
        "events": status.events,
        "sent": sent,
        "resumed_from": status.resumed_from,
        "items": status.items,
        "rejected": dict(rejects.counts),
        "rejects_file": str(rejects.file),
        "seconds": round(seconds, 3),
        "events_per_second": round(sent / seconds, 1) if seconds else 0.0,
    }


def _print_result(result: dict[str, Any], rejects: Rejects) -> None:
    for reason, count in rejects.counts.most_common():
        lines = ", ".join(map(str, rejects.first_lines[reason]))
        more = " …" if count > len(rejects.first_lines[reason]) else ""
        stderr.print(f"rejected {count:,} rows: {reason} (line {lines}{more})", markup=False, soft_wrap=True)
    if rejects.counts:
        stderr.print(f"all rejected rows are listed in {rejects.file}", markup=False, soft_wrap=True)
    if not result["sent"] and result["resumed_from"]:
        stderr.print("everything had been sent by an earlier run; --restart sends it again")
    stdout.print(
        f"{result['rows']:,} rows: {result['sent']:,} events sent, {result['resumed_from']:,} sent by earlier runs, "
        f"{sum(rejects.counts.values()):,} rows rejected, {result['items']:,} items; {result['seconds']:.1f} s, "
        f"{result['events_per_second']:,.0f} events/s"
    )
