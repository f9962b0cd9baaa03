"""What all commands share: settings of the invocation, printing, and how errors leave the process."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
import typer
from rich.console import Console

from stream import failpoints
from stream.logs import Log, set_up_logs
from stream.settings import DEFAULT_FILE, Settings, SettingsError, read_settings

FAILED, WRONG_USAGE = 1, 2

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False)

Result = TypeVar("Result")


def load_settings(context: typer.Context) -> Settings:
    """The settings for this invocation; ends with exit code 2 and one clear line if they are wrong."""
    file: Path | None = context.find_root().params.get("config")
    if file is None and DEFAULT_FILE.exists():
        file = DEFAULT_FILE
    try:
        settings = read_settings(file, os.environ)
    except SettingsError as error:
        fail(str(error), WRONG_USAGE)
    set_up_logs(settings.log)
    _arm_failpoints()
    return settings


def _arm_failpoints() -> None:
    told = os.environ.get(failpoints.VARIABLE, "")
    try:
        failpoints.arm(told)
    except ValueError as error:
        fail(str(error), WRONG_USAGE)
    if told:
        Log("alluvium").warning("this process is told to break", variable=failpoints.VARIABLE, told=told)


def fail(message: str, code: int = FAILED) -> NoReturn:
    """Ends the process with one line on standard error."""
    stderr.print(f"alluvium: {message}", style="red", markup=False, soft_wrap=True)
    raise typer.Exit(code)


def print_json(value: Any) -> None:  # noqa: ANN401  (anything msgspec encodes)
    """One JSON document on standard output."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_json_line(value: Any) -> None:  # noqa: ANN401  (anything msgspec encodes)
    """One line of JSON Lines on standard output."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs asynchronous work; Ctrl-C ends it with exit code 130 and no traceback."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
