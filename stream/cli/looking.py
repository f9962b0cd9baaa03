"""`alluvium state`, `settings`, `doctor`: looking without touching."""

from __future__ import annotations

import sys
from typing import Annotated

import tomli_w
import typer
from aiokafka.errors import KafkaError

from stream.asking import read_states, state_as_json
from stream.cli.common import FAILED, JsonOption, fail, load_settings, print_json, print_json_line, run, stdout
from stream.doctor import Check, examine
from stream.settings import Settings, redacted

MARKS = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "failed": "[red]failed[/] "}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("state")(state)
    app.command("settings")(show_settings)
    app.command("doctor")(doctor)


def state(
    context: typer.Context,
    user: Annotated[str | None, typer.Argument(help="A user's id; all users when left out.")] = None,
) -> None:
    """Print user state from the changelog as JSON Lines."""
    settings = load_settings(context)
    try:
        states = run(read_states(settings, user))
    except (KafkaError, OSError) as error:
        fail(f"cannot read user state from {settings.kafka.bootstrap_servers}: {error}")
    if user is not None and not states:
        fail(f"no event of user {user!r} has been applied")
    for user_id, partition, row in states:
        print_json_line(state_as_json(user_id, partition, row))


def show_settings(context: typer.Context, json: JsonOption = False) -> None:
    """Print every setting in force, as TOML; secrets are not shown."""
    shown = redacted(load_settings(context))
    if json:
        print_json(shown)
    else:
        sys.stdout.write(tomli_w.dumps(shown))


def doctor(context: typer.Context, json: JsonOption = False) -> None:
    """Check everything Alluvium needs; each failing line says what to do."""
    checks = run(_examine(load_settings(context), quiet=json))
    if json:
        print_json(checks)
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(FAILED)


async def _examine(settings: Settings, *, quiet: bool) -> list[Check]:
    checks = []
    async for check in examine(settings):
        checks.append(check)
        if not quiet:
            stdout.print(f"{MARKS[check.status]} {check.name}: ", end="")
            stdout.print(check.detail, markup=False)
            if check.remedy:
                stdout.print(f"          to do: {check.remedy}", markup=False)
    return checks
