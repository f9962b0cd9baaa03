"""`alluvium worker`: answers events and requests until it is told to stop."""

from __future__ import annotations

import typer

from stream.allocator import give_back_large
from stream.cli.common import fail, load_settings, run


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("worker")(worker)


def worker(context: typer.Context) -> None:
    """Run a worker: a list on `recommendations` for every event and request. Run any number of them."""
    settings = load_settings(context)
    give_back_large()
    from aiokafka.errors import KafkaError  # noqa: PLC0415  # heavy: only this command needs them

    from stream.http import PortTakenError  # noqa: PLC0415
    from stream.wire.topics import TopicsError  # noqa: PLC0415
    from stream.worker.faust_fixes import UnknownFaustError  # noqa: PLC0415
    from stream.worker.process import run_worker  # noqa: PLC0415

    try:
        run(run_worker(settings))
    except* (KafkaError, OSError, PortTakenError, TopicsError, UnknownFaustError) as errors:
        for error in errors.exceptions:
            fail(str(error))
