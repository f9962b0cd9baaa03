"""Puts the commands together. Each module brings its own; heavy imports happen inside the commands."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

MODULES = ("demo", "broker", "topics", "worker", "trainer", "shop", "asking", "looking", "artifacts", "evaluate")

app = typer.Typer(
    name="alluvium",
    help="A streaming real-time recommender: events in Kafka, lists in Kafka, what is learned in versioned artifacts.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def root(
    config: Annotated[
        Path | None, typer.Option("--config", help="Settings file (TOML); default: alluvium.toml if there is one.")
    ] = None,
) -> None:
    """Settings come from one TOML file and from environment variables ALLUVIUM_SECTION__KEY."""


@cache
def load_commands() -> typer.Typer:
    """The application with all its commands."""
    for name in MODULES:
        module = f"stream.cli.{name}"
        if importlib.util.find_spec(module):
            import_module(module).register(app)
    return app


def main() -> None:
    """The console script."""
    try:
        load_commands()()
    except BrokenPipeError:  # the reader of our output has gone: `alluvium state | head`
        sys.stderr.close()
        sys.exit(0)
