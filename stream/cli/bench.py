"""`alluvium bench [FILE]`: how fast it is beside what else one would take, on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from aiokafka.errors import KafkaError

from stream.cli.common import FAILED, WRONG_USAGE, JsonOption, fail, load_settings, print_json, run, stderr

if TYPE_CHECKING:
    from stream.bench.bench import Bench, Plan
    from stream.bench.logs import BenchLog
    from stream.settings import Settings

SUITES = ("transport", "recommend", "latency", "requests", "refresh", "idle")
CONTENDERS = ("aiokafka", "alluvium", "bytewax", "quix", "faust")
SPARE = 2  # times the events: of a user who comes too often only the first ones are asked
DEFAULT_CACHE = "~/.cache/alluvium/bench"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("bench")(bench)


def bench(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Argument(help="A log: CSV, TSV, Parquet or JSON Lines; without it a simulated shop's.", dir_okay=False),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="A known data set, instead of --columns.")] = None,
    columns: Annotated[str | None, typer.Option(help="As for `alluvium evaluate`: user=…,item=…,time=…")] = None,
    event_type: Annotated[str, typer.Option(help="Event type of a file without a type column.")] = "",
    what: Annotated[str, typer.Option(help=f"Suites: {', '.join(SUITES)}.")] = ",".join(SUITES),
    contenders: Annotated[str, typer.Option(help="Who takes part.")] = ",".join(CONTENDERS),
    rounds: Annotated[int, typer.Option(min=1, help="Each contender runs once in each.")] = 3,
    events: Annotated[int, typer.Option(min=100, help="Events asked; slow contenders get a part.")] = 200_000,
    seconds: Annotated[float, typer.Option(min=1.0, help="How long a paced run is measured.")] = 60.0,
    seed: Annotated[int, typer.Option(help="Of the simulated shop.")] = 7,
    cache: Annotated[Path, typer.Option(help="Where contenders' libraries are kept.")] = Path(DEFAULT_CACHE),
    save: Annotated[Path | None, typer.Option(help="Write the results into this file as JSON, too.")] = None,
    json: JsonOption = False,
) -> None:
    """Compare Alluvium's worker with other ways to do its job, in turns on one log and one broker of the bench's own.

    Results go to standard output as Markdown, progress to standard error.
    """
    from stream.bench.bench import Plan  # noqa: PLC0415
    from stream.bench.tables import document  # noqa: PLC0415
    from stream.shop.kafka_jars import BrokerError  # noqa: PLC0415

    settings = load_settings(context)
    suites = _chosen("--what", what, SUITES)
    who = _chosen("--contenders", contenders, CONTENDERS)
    log = _log(settings, file, dataset, columns, event_type, events, seed)
    with tempfile.TemporaryDirectory(prefix="alluvium-bench-") as directory:
        plan = Plan(settings, log, who, rounds, events, seconds, Path(directory), cache, _say)
        try:
            report = run(_measure(plan, suites))
        except BrokerError as error:
            fail(str(error))
    if save is not None:
        save.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    if json:
        print_json(report)
    else:
        typer.echo(document(**report), nl=False)
    if report["problems"]:
        raise typer.Exit(FAILED)


async def _measure(plan: Plan, chosen: list[str]) -> dict[str, Any]:
    from stream.bench import paced, suites  # noqa: PLC0415
    from stream.bench.bench import open_bench  # noqa: PLC0415
    from stream.bench.yard import FellError  # noqa: PLC0415
    from stream.knowledge.learning import NothingToLearnError  # noqa: PLC0415
    from stream.knowledge.manifest import ArtifactError  # noqa: PLC0415

    known: dict[str, Callable[[Bench], Awaitable[Any]]] = {
        "transport": suites.transport,
        "recommend": suites.recommend,
        "latency": paced.latency,
        "requests": paced.requests,
        "refresh": paced.refresh,
        "idle": paced.idle,
    }
    results = {}
    async with open_bench(plan) as bench:
        for suite in chosen:
            try:
                results[suite] = await known[suite](bench)
            except (FellError, NothingToLearnError, ArtifactError, KafkaError, OSError) as error:
                bench.failed(f"{suite}: {error}")  # what the others came to is not lost
        return {"results": results, "problems": bench.problems}


def _chosen(option: str, text: str, known: tuple[str, ...]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            fail(f"{option}: unknown {name!r}; known: {', '.join(known)}", WRONG_USAGE)
    return list(dict.fromkeys(names))


def _log(
    settings: Settings,
    file: Path | None,
    dataset: str | None,
    columns: str | None,
    event_type: str,
    events: int,
    seed: int,
) -> BenchLog:
    from stream.bench.logs import shop_log, split  # noqa: PLC0415
    from stream.cli.evaluate import read_file  # noqa: PLC0415

    if file is None:
        stderr.print("making a simulated shop's log")
        return split(shop_log(2 * SPARE * events, settings.event_types(), seed), SPARE * events)
    stderr.print(f"reading {file}", markup=False)
    return split(read_file(file, "", dataset, columns, event_type, settings), SPARE * events)


def _say(text: str) -> None:
    stderr.print(text, markup=False, soft_wrap=True)
