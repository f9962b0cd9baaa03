"""Puts the commands together. Each module brings its own; heavy imports happen inside the commands."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from stream.cli import artifacts, asking, bench, broker, demo, evaluate, letters, looking, shop, topics, trainer, worker
from stream.cli.caching import find_cache

# As --help lists them.
MODULES = (demo, broker, topics, worker, trainer, shop, asking, looking, letters, artifacts, evaluate, bench)

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
    for module in MODULES:
        module.register(app)
    return app


def main() -> None:
    """The console script."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait make a busy machine crawl
    find_cache(os.environ, Path(__file__).parents[2] / "indexing", Path.home())
    try:
        load_commands()()
    except BrokenPipeError:  # the reader of our output has gone: `alluvium state | head`
        sys.stderr.close()
        sys.exit(0)
