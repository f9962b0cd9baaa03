"""`alluvium evaluate FILE`: a log replayed through state, refresh and lists, and how good the lists were."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from stream.cli.common import WRONG_USAGE, JsonOption, fail, load_settings, print_json, stderr, stdout

if TYPE_CHECKING:
    from stream.evaluation.log_file import EventLog
    from stream.evaluation.protocols import Plan
    from stream.settings import Settings

PROTOCOLS = ("periods", "prequential", "leave-last-out")
UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="CSV, TSV, Parquet or JSON Lines, gzip or not.", dir_okay=False)],
    protocol: Annotated[str, typer.Option(help=f"One of {', '.join(PROTOCOLS)}.")] = "prequential",
    dataset: Annotated[str | None, typer.Option(help="A known data set, instead of --columns.")] = None,
    columns: Annotated[str | None, typer.Option(help="user=…,item=… and any of time, type, session, period.")] = None,
    k: Annotated[str, typer.Option("--k", help="Cut-offs of the measures.")] = "10,20",
    refresh_every: Annotated[str, typer.Option(help="Prequential: events (20000) or event time (30m, 6h, 1d).")] = "1d",
    sample: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of users asked for; all are learned.")] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Default: that of the trainer's settings.")] = None,
    model: Annotated[str, typer.Option(help="full, covisitation, sessions, neural or popular.")] = "full",
    against: Annotated[str, typer.Option(help="Baselines on the same queries, e.g. popular,covisitation.")] = "",
    event_type: Annotated[str, typer.Option(help="Event type of a file without a type column.")] = "",
    last_period: Annotated[int | None, typer.Option(help="Leave out what comes after this period.")] = None,
    json: JsonOption = False,
) -> None:
    """Replay a log, ask before each event, and print recall, MRR, NDCG and coverage, beside the baselines."""
    from stream.evaluation.protocols import leave_last_out, periods, prequential  # noqa: PLC0415

    settings = load_settings(context)
    if protocol not in PROTOCOLS:
        fail(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}", WRONG_USAGE)
    log = _read(file, protocol, dataset, columns, event_type, settings)
    if last_period is not None:
        log = log.until_period(last_period)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=stderr,
        disable=not stderr.is_terminal,
    ) as bar:
        task = bar.add_task("reading", total=1.0)
        plan = _plan(settings, model, against, k, sample, seed, bar, task)
        if protocol == "periods":
            result = periods(log, plan)
        elif protocol == "leave-last-out":
            result = leave_last_out(log, plan)
        else:
            result = prequential(log, plan, _refreshes(log, refresh_every))
    if json:
        print_json(result)
    else:
        _print(result, model)


def _plan(
    settings: Settings, model: str, against: str, k: str, sample: float, seed: int | None, bar: Progress, task: TaskID
) -> Plan:
    from stream.evaluation.answering import MODELS  # noqa: PLC0415
    from stream.evaluation.protocols import Plan  # noqa: PLC0415
    from stream.knowledge.threads import use_threads  # noqa: PLC0415

    names = [name.strip() for name in against.split(",") if name.strip()]
    for name in (model, *names):
        if name not in MODELS:
            fail(f"unknown model {name!r}; known: {', '.join(MODELS)}", WRONG_USAGE)
    try:
        cutoffs = sorted({int(part) for part in k.split(",")})
    except ValueError:
        cutoffs = [0]
    if cutoffs[0] < 1 or cutoffs[-1] > 200:
        fail(f"--k must be whole numbers from 1 to 200, is {k!r}", WRONG_USAGE)
    use_threads(settings.trainer.threads)
    return Plan(
        model=model,
        against=[name for name in names if name != model],
        cutoffs=cutoffs,
        sample=sample,
        seed=settings.trainer.seed if seed is None else seed,
        event_types=settings.event_types(),
        settings=settings.model,
        window_events=settings.trainer.window_events,
        clock=time.perf_counter,
        progress=lambda what, done: bar.update(task, description=what, completed=done),
    )


def _read(
    file: Path, protocol: str, dataset: str | None, columns: str | None, event_type: str, settings: Settings
) -> EventLog:
    from stream.evaluation.log_file import (  # noqa: PLC0415
        DATASET_TYPES,
        DATASETS,
        LogFileError,
        read_log,
        read_sequences,
    )

    if dataset is not None and dataset not in DATASETS:
        fail(f"unknown data set {dataset!r}; known: {', '.join(DATASETS)}", WRONG_USAGE)
    types = settings.event_types()
    kind = types.canonical(event_type or DATASET_TYPES.get(dataset or "", types.names[0]))
    if kind is None:
        fail(f"unknown event type {event_type!r}; known: {', '.join(types.names)}", WRONG_USAGE)
    try:
        if protocol == "leave-last-out" and dataset is None and columns is None:
            return read_sequences(file, types, kind)
        return read_log(file, _columns(columns) if columns else DATASETS.get(dataset or "", {}), types, kind)
    except LogFileError as error:
        fail(str(error))


def _columns(text: str) -> dict[str, str]:
    from stream.evaluation.log_file import COLUMNS  # noqa: PLC0415

    pairs = dict(part.partition("=")[::2] for part in text.split(","))
    for role, name in pairs.items():
        if role not in COLUMNS or not name:
            fail(f"--columns: {role!r} is not one of {', '.join(COLUMNS)} with a column name behind it", WRONG_USAGE)
    return pairs


def _refreshes(log: EventLog, every: str) -> list[int]:
    from stream.evaluation.protocols import refreshes_by_events, refreshes_by_time  # noqa: PLC0415

    number, unit = (every[:-1], every[-1:]) if every[-1:] in UNITS else (every, "")
    if not number.isdigit() or int(number) == 0:
        fail(f"--refresh-every: {every!r} is neither a number of events nor a time such as 30m", WRONG_USAGE)
    return refreshes_by_time(log, int(number) * UNITS[unit]) if unit else refreshes_by_events(log, int(number))


def _print(result: dict[str, Any], model: str) -> None:
    mean = Table(title=f"{result['queries']:,} queries", title_justify="left")
    names = list(result["mean"])
    mean.add_column("")
    for name in names:
        mean.add_column(name, justify="right")
    for title, values in {model: result["mean"], **result["against"]}.items():
        mean.add_row(title, *(f"{values[name]:.4f}" for name in names))
    stdout.print(mean)
    each = Table(title="by period", title_justify="left")
    names = names[-3:]  # those of the largest cut-off
    for heading in ("period", "queries", "unseen", *names):
        each.add_column(heading, justify="right")
    for one in result["periods"]:
        values = [f"{one[name]:.4f}" for name in names]
        each.add_row(str(one["period"]), f"{one['queries']:,}", f"{one['unseen']:,}", *values)
    stdout.print(each)
    seconds = result["seconds"]
    stdout.print(
        f"coverage {result['coverage']:.3f}, {seconds['fit']:.1f} s learning, {seconds['answer']:.1f} s answering "
        f"({1e3 * seconds['answer'] / max(result['queries'], 1):.3f} ms a query)"
    )
