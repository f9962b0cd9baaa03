"""`alluvium bench [FILE]`: how fast it is beside what else one would take, on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stream.cli.common import FAILED, WRONG_USAGE, JsonOption, fail, load_settings, print_json, run, stderr

if TYPE_CHECKING:
    from stream.bench.bench import Plan, Result
    from stream.bench.logs import BenchLog
    from stream.settings import Settings

SUITES = ("transport",)
CONTENDERS = ("aiokafka", "alluvium", "quix", "faust")
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
    seed: Annotated[int, typer.Option(help="Of the simulated shop.")] = 7,
    cache: Annotated[Path, typer.Option(help="Where contenders' libraries are kept.")] = Path(DEFAULT_CACHE),
    json: JsonOption = False,
) -> None:
    """Compare Alluvium's worker with other ways to do its job, in turns on one log and one broker of the bench's own.

    Results go to standard output as Markdown, progress to standard error.
    """
    from stream.bench.bench import Plan  # noqa: PLC0415
    from stream.shop.kafka_jars import BrokerError  # noqa: PLC0415

    settings = load_settings(context)
    suites = _chosen("--what", what, SUITES)
    who = _chosen("--contenders", contenders, CONTENDERS)
    log = _log(settings, file, dataset, columns, event_type, events, seed)
    with tempfile.TemporaryDirectory(prefix="alluvium-bench-") as directory:
        plan = Plan(settings, log, who, rounds, events, Path(directory), cache, _say)
        try:
            results = run(_measure(plan, suites))
        except BrokerError as error:
            fail(str(error))
    if json:
        print_json(results)
    else:
        _show(results)
    if any(result.problems for result in results):
        raise typer.Exit(FAILED)


async def _measure(plan: Plan, suites: list[str]) -> list[Result]:
    from stream.bench import bench  # noqa: PLC0415

    known = {"transport": bench.transport}
    async with bench.open_yard(plan) as yard:
        return [await known[suite](yard, plan) for suite in suites]


def _show(results: list[Result]) -> None:
    from stream.bench.field import ALLUVIUM  # noqa: PLC0415
    from stream.bench.tables import stage_table, throughput_table  # noqa: PLC0415

    for result in results:
        typer.echo(f"\n**{result.suite}**\n\n{throughput_table(result)}")
        ours = result.outcomes.get(ALLUVIUM.name)
        if ours:
            typer.echo(f"\n{stage_table(ours)}")
        for problem in result.problems:
            typer.echo(f"\n{problem}")


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
        log = shop_log(2 * events, settings.event_types(), seed)
    else:
        stderr.print(f"reading {file}", markup=False)
        log = read_file(file, "", dataset, columns, event_type, settings)
    try:
        return split(log, events)
    except ValueError as error:
        fail(str(error), WRONG_USAGE)


def _say(text: str) -> None:
    stderr.print(text, markup=False, soft_wrap=True)
