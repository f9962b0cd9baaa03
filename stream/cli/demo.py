"""`alluvium demo`: everything at once, shown live."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from aiokafka.errors import KafkaError
from rich.console import Console

from stream.cli.common import FAILED, WRONG_USAGE, JsonOption, fail, print_json, stderr, stdout
from stream.settings import SettingsError, read_settings
from stream.shop.kafka_jars import BrokerError

if TYPE_CHECKING:
    from stream.shop.verdict import Summary

ARTIFACTS_WHEN_PIPED = 3


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("demo")(demo)


def demo(
    until_artifacts: Annotated[
        int | None, typer.Option(min=1, help="End after this many artifacts have served; 3 when not on a terminal.")
    ] = None,
    rate: Annotated[float, typer.Option(min=1, help="Events per second.")] = 100.0,
    users: Annotated[int, typer.Option(min=10, help="Shoppers.")] = 500,
    items: Annotated[int, typer.Option(min=200, help="Goods.")] = 1_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same shop.")] = 7,
    refresh_seconds: Annotated[float, typer.Option(min=1, help="Between two refreshes.")] = 15.0,
    directory: Annotated[Path, typer.Option(help="Everything of the demo is kept here, fresh each time.")] = Path(
        ".alluvium/demo"
    ),
    json: JsonOption = False,
) -> None:
    """Run Kafka, a worker, a trainer and a simulated shop, and watch lists get better; Ctrl-C stops everything.

    Ends with a summary of every promise that can be checked from outside; exit code 0 only if all held.
    """
    from stream.shop.demo import Options, run_demo  # noqa: PLC0415  (Kafka's client takes a while to load)
    from stream.shop.household import DemoError, own_environment  # noqa: PLC0415
    from stream.shop.view import LiveView, PlainView  # noqa: PLC0415

    try:
        read_settings(None, os.environ)
    except SettingsError as error:
        fail(str(error), WRONG_USAGE)
    console = stderr if json else stdout
    live = console.is_terminal
    if until_artifacts is None and not live:
        until_artifacts = ARTIFACTS_WHEN_PIPED
    view = LiveView(Console(stderr=json, highlight=False)) if live else PlainView(console)
    options = Options(directory, rate, users, items, seed, refresh_seconds, until_artifacts)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        summary = run_demo(options, view, own_environment())
    except (BrokerError, DemoError) as error:
        fail(str(error))
    except (KafkaError, OSError) as error:
        fail(f"the demo lost Kafka: {error}")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if json:
        print_json(summary)
    else:
        _print(summary)
    if not summary.ok:
        raise typer.Exit(FAILED)


def _print(summary: Summary) -> None:
    stdout.print()
    for check in summary.checks:
        stdout.print(f"{'held  ' if check.held else 'BROKEN'}  {check.promise}: {check.figures}", markup=False)
    for part in summary.by_artifact:
        stdout.print(
            f"        hit rate@{summary.depth} {part.hit_rate:.3f}, popularity {part.popular_hit_rate:.3f} "
            f"({part.events:,} events) while {part.artifact} served",
            markup=False,
        )
    first = summary.first_personal_list_seconds
    when = "no personal list" if first is None else f"first personal list {first:.0f} s after Kafka"
    waits = ", ".join(f"{name} {value:.0f} ms" for name, value in summary.event_to_list_ms.items())
    stdout.print(f"{summary.events:,} events, {summary.lists:,} lists, event→list {waits or '–'}, {when}")
    stdout.print("all promises held" if summary.ok else f"not all promises held; logs are in {summary.directory}/logs")
