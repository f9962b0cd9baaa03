"""`alluvium trainer`: learns from the log and publishes artifacts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any

import typer
from aiokafka.errors import KafkaError

from stream.allocator import give_back_large
from stream.cli.common import fail, load_settings, stderr
from stream.http import PortTakenError
from stream.priority import lower_priority
from stream.wire.topics import TopicsError

STOP_SECONDS = 2.0  # to part from the broker in order


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("trainer")(trainer)


def trainer(context: typer.Context) -> None:
    """Learn from the events in Kafka and publish a new artifact every `trainer.refresh_seconds`, until Ctrl-C."""
    settings = load_settings(context)
    give_back_large()
    lower_priority(settings.trainer.niceness)  # threads that libraries start take it over
    from stream.knowledge.manifest import ArtifactError  # noqa: PLC0415  # numba and torch take seconds
    from stream.trainer.leadership import LeadershipLostError  # noqa: PLC0415
    from stream.trainer.life import run_trainer  # noqa: PLC0415
    from stream.trainer.process import AnotherTrainerError  # noqa: PLC0415

    try:
        asyncio.run(_until_stopped(run_trainer(settings, stderr)))
    except (ArtifactError, TopicsError, LeadershipLostError, PortTakenError, AnotherTrainerError) as error:
        fail(str(error))
    except KafkaError as error:
        fail(f"Kafka refuses: {error}")
    except OSError as error:
        fail(f"the artifact store {settings.artifacts.url} cannot be used: {error}")


async def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Runs until SIGTERM or SIGINT, then ends the process: an abandoned refresh may be deep in a computation."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    task, stopping = asyncio.create_task(work), asyncio.create_task(stopped.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        stopping.cancel()
        return task.result()
    task.cancel()
    await asyncio.wait({task}, timeout=STOP_SECONDS)
    with contextlib.suppress(OSError):  # the disk of a log may be full
        stderr.print("trainer stopped")
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)
