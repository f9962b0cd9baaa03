"""`alluvium evaluate [FILE]`: a log replayed through state, refresh and lists, and how good the lists were."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from stream.cli.common import WRONG_USAGE, JsonOption, fail, load_settings, print_json, run, stderr

if TYPE_CHECKING:
    from stream.evaluation.event_log import EventLog
    from stream.evaluation.plan import Plan
    from stream.settings import Settings

SERVED = "served"
LEAVE_LAST_OUT = "leave-last-out"
PROTOCOLS = ("periods", "prequential", LEAVE_LAST_OUT, SERVED)
UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
NEVER = "never"
USUAL_REFRESH = "1d"  # of `prequential`; within a period nothing is refreshed unless asked for


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="CSV, TSV, Parquet or JSON Lines, gzip or not; without it the topics.", dir_okay=False),
    ] = None,
    protocol: Annotated[str, typer.Option(help=f"One of {', '.join(PROTOCOLS)}.")] = "prequential",
    dataset: Annotated[str | None, typer.Option(help="A known data set, instead of --columns.")] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="user=…,item=… and any of time, type, session, period, quantity, title, category, brand, price."
        ),
    ] = None,
    items: Annotated[
        Path | None, typer.Option(help="A file of items: item_id, title, category, brand, price …")
    ] = None,
    k: Annotated[str, typer.Option("--k", help="Cut-offs of the measures.")] = "10,20",
    refresh_every: Annotated[
        str | None,
        typer.Option(
            help="Events (20000), event time (30m, 6h, 1d) or never. Default for prequential: 1d. For periods (default "
            "never): how often the memories, not the networks, are rebuilt within a period."
        ),
    ] = None,
    warm_up: Annotated[
        str | None,
        typer.Option(help="Prequential: events or event time before the first version. Default: one refresh."),
    ] = None,
    sample: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of users asked for; all are learned.")] = 1.0,
    hide_items: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Leave-last-out: share of items of which no event is learned.")
    ] = 0.0,
    seed: Annotated[int | None, typer.Option(help="Default: that of the trainer's settings.")] = None,
    model: Annotated[
        str, typer.Option(help="full, neural, popular or one source: covisitation, sessions, content …")
    ] = "full",
    intent: Annotated[str, typer.Option(help="Event type that lists are for; default: recommend.intent.")] = "",
    against: Annotated[
        str, typer.Option(help="Baselines on the same queries, e.g. popular,covisitation; frozen: never refreshed.")
    ] = "",
    event_type: Annotated[str, typer.Option(help="Event type of a file without a type column.")] = "",
    last_period: Annotated[int | None, typer.Option(help="Leave out what comes after this period.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw quality over time into this file (PNG, SVG, PDF).")] = None,
    json: JsonOption = False,
) -> None:
    """Replay a log, ask before each event, and print recall, MRR, NDCG and coverage, beside the baselines."""
    from stream.cli import evaluation_view as view  # noqa: PLC0415

    settings = _with_intent(load_settings(context), intent)
    if protocol not in PROTOCOLS:
        fail(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}", WRONG_USAGE)
    if protocol == SERVED:
        view.show_served(_served(settings, file, _cutoffs(k)), json=json)
        return
    if hide_items and protocol != LEAVE_LAST_OUT:
        fail(f"--hide-items is for --protocol {LEAVE_LAST_OUT}", WRONG_USAGE)
    every = _every(refresh_every or (USUAL_REFRESH if protocol == "prequential" else NEVER), "--refresh-every")
    warm = _every(warm_up, "--warm-up") if warm_up else None
    if warm and (protocol != "prequential" or warm[0] == NEVER):
        fail("--warm-up is a number of events or a time, for --protocol prequential", WRONG_USAGE)
    plan = _plan(settings, model, against, k, sample, hide_items, seed)
    if plot is not None:
        view.check_plot(plot)
    log = _read_topics(settings) if file is None else read_file(file, protocol, dataset, columns, event_type, settings)
    if items is not None:
        log = _with_items(log, items)
    if last_period is not None:
        log = log.until_period(last_period)
    for reason, count in log.left_out.items():
        stderr.print(f"left out: {count:,} ({reason})", highlight=False)
    result = _run(protocol, log, plan, every, warm)
    if plot is not None:
        view.plot(result, model, plot)
    if json:
        print_json(result)
    else:
        view.show(result, model)


def _run(
    protocol: str, log: EventLog, plan: Plan, every: tuple[str, int], warm_up: tuple[str, int] | None
) -> dict[str, Any]:
    from stream.evaluation.protocols import leave_last_out, periods, prequential  # noqa: PLC0415

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=stderr,
        disable=not stderr.is_terminal,
    )
    with bar:
        task = bar.add_task("reading", total=1.0)
        plan = replace(plan, progress=lambda what, done: bar.update(task, description=what, completed=done))
        if protocol == LEAVE_LAST_OUT:
            return leave_last_out(log, plan)
        play = periods if protocol == "periods" else prequential
        return play(log, plan, _refreshes(protocol, log, every, warm_up))


def _with_intent(settings: Settings, intent: str) -> Settings:
    if not intent:
        return settings
    if settings.event_types().wanted(intent) is None:
        fail(f"--intent {intent!r} is no event type of positive weight, nor an alias of one", WRONG_USAGE)
    return msgspec.structs.replace(settings, recommend=msgspec.structs.replace(settings.recommend, intent=intent))


def _plan(
    settings: Settings, model: str, against: str, k: str, sample: float, hide_items: float, seed: int | None
) -> Plan:
    from stream.evaluation.answering import FROZEN, models  # noqa: PLC0415
    from stream.evaluation.plan import Plan  # noqa: PLC0415
    from stream.knowledge.threads import use_threads  # noqa: PLC0415
    from stream.wire.messages import Filters  # noqa: PLC0415

    names = [name.strip() for name in against.split(",") if name.strip()]
    for name, known in ((model, models()), *((name, [*models(), FROZEN]) for name in names)):
        if name not in known:
            fail(f"unknown model {name!r}; known: {', '.join(known)}", WRONG_USAGE)
    use_threads(settings.trainer.threads)
    return Plan(
        model=model,
        against=[name for name in names if name != model],
        cutoffs=_cutoffs(k),
        sample=sample,
        seed=settings.trainer.seed if seed is None else seed,
        event_types=settings.event_types(),
        intent=settings.intent(),
        filters=Filters(exclude_purchased=settings.recommend.exclude_purchased),
        recommend=settings.recommend,
        settings=settings.model,
        window_events=settings.trainer.window_events,
        clock=time.perf_counter,
        hide_items=hide_items,
    )


def _cutoffs(k: str) -> list[int]:
    try:
        cutoffs = sorted({int(part) for part in k.split(",")})
    except ValueError:
        cutoffs = [0]
    if cutoffs[0] < 1 or cutoffs[-1] > 200:
        fail(f"--k must be whole numbers from 1 to 200, is {k!r}", WRONG_USAGE)
    return cutoffs


def _served(settings: Settings, file: Path | None, cutoffs: Sequence[int]) -> dict[str, Any]:
    from aiokafka.errors import KafkaError  # noqa: PLC0415

    from stream.evaluation.served import served  # noqa: PLC0415
    from stream.knowledge.manifest import ArtifactError  # noqa: PLC0415
    from stream.knowledge.store import ArtifactStore  # noqa: PLC0415

    if file is not None:
        fail("--protocol served reads the topics: it takes no file", WRONG_USAGE)
    try:
        store = ArtifactStore(settings.artifacts.url, settings.artifacts.cache_dir)
        known = set(store.list())
        return run(served(settings, lambda artifact: store.open(artifact) if artifact in known else None, cutoffs))
    except (KafkaError, ArtifactError, OSError) as error:
        fail(f"the topics at {settings.kafka.bootstrap_servers} or the artifacts cannot be read: {error}")


def read_file(
    file: Path, protocol: str, dataset: str | None, columns: str | None, event_type: str, settings: Settings
) -> EventLog:
    """The log of a file, as the options say; ends with exit code 1 or 2 and one clear line where it is none."""
    from stream.evaluation.event_log import LogError  # noqa: PLC0415
    from stream.evaluation.log_file import DATASET_TYPES, DATASETS, read_log, read_sequences  # noqa: PLC0415

    if dataset is not None and dataset not in DATASETS:
        fail(f"unknown data set {dataset!r}; known: {', '.join(DATASETS)}", WRONG_USAGE)
    types = settings.event_types()
    kind = types.canonical(event_type or DATASET_TYPES.get(dataset or "", types.names[0]))
    if kind is None:
        fail(f"unknown event type {event_type!r}; known: {', '.join(types.names)}", WRONG_USAGE)
    try:
        if protocol == LEAVE_LAST_OUT and dataset is None and columns is None:
            return read_sequences(file, types, kind)
        return read_log(file, _columns(columns) if columns else DATASETS.get(dataset or "", {}), types, kind)
    except LogError as error:
        fail(str(error))


def _read_topics(settings: Settings) -> EventLog:
    from aiokafka.errors import KafkaError  # noqa: PLC0415

    from stream.evaluation.event_log import LogError  # noqa: PLC0415
    from stream.evaluation.log_topic import read_topics  # noqa: PLC0415
    from stream.wire.decoding import Decoder  # noqa: PLC0415

    try:
        return run(read_topics(settings.kafka, Decoder(settings.events)))
    except LogError as error:
        fail(f"{error}: {settings.kafka.bootstrap_servers}, {settings.kafka.topic_prefix}events")
    except (KafkaError, OSError) as error:
        fail(f"the topics at {settings.kafka.bootstrap_servers} cannot be read: {error}")


def _with_items(log: EventLog, file: Path) -> EventLog:
    """The log with the items of a file, known from the moment they were published or else from the start."""
    from stream.evaluation.event_log import with_items  # noqa: PLC0415
    from stream.shop.item_files import read_items  # noqa: PLC0415
    from stream.wire.messages import Item  # noqa: PLC0415

    try:
        rows = [row for _, row in read_items(file)]
    except (ValueError, OSError) as error:
        fail(f"--items: {error}")
    found = [row for row in rows if isinstance(row, Item)]
    if len(found) < len(rows):
        log = replace(log, left_out={**log.left_out, "bad_item": len(rows) - len(found)})
    return with_items(log, found)


def _columns(text: str) -> dict[str, str]:
    from stream.evaluation.log_file import COLUMNS  # noqa: PLC0415

    pairs = dict(part.partition("=")[::2] for part in text.split(","))
    for role, name in pairs.items():
        if role not in COLUMNS or not name:
            fail(f"--columns: {role!r} is not one of {', '.join(COLUMNS)} with a column name behind it", WRONG_USAGE)
    return pairs


def _every(text: str, option: str) -> tuple[str, int]:
    """The unit (empty: events) and the number."""
    if text == NEVER:
        return NEVER, 0
    number, unit = (text[:-1], text[-1:]) if text[-1:] in UNITS else (text, "")
    if not number.isdigit() or int(number) == 0:
        fail(f"{option}: {text!r} is neither a number of events, a time such as 30m, nor {NEVER}", WRONG_USAGE)
    return unit, int(number)


def _refreshes(protocol: str, log: EventLog, every: tuple[str, int], warm_up: tuple[str, int] | None) -> Sequence[int]:
    from stream.evaluation import protocols  # noqa: PLC0415

    unit, number = every
    if unit == NEVER:
        found: Sequence[int] = () if protocol == "periods" or warm_up else protocols.refresh_once(log)
    elif unit:
        found = protocols.refreshes_by_time(log, number * UNITS[unit])
    else:
        found = protocols.refreshes_by_events(log, number)
    if warm_up is None:
        return found
    unit, number = warm_up
    first = protocols.position_after(log, number * UNITS[unit]) if unit else number
    return [first, *(position for position in found if position > first)]
