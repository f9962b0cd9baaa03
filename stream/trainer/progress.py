"""How far a refresh is: a metric, a bar on a terminal, and the place where a stopping trainer abandons it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from stream.failpoints import failpoint
from stream.metrics import TrainerMetrics

STAGES = ("fit", "rank", "judge", "build", "publish", "verify")


class AbandonedError(Exception):
    """The trainer is stopping; the refresh in hand leaves nothing behind. Operator action: none."""


class RefreshProgress:
    """Called with a stage and its share done, 0..1, from the thread that refreshes."""

    def __init__(self, metrics: TrainerMetrics, console: Console) -> None:
        self._metrics = metrics
        self._console = console
        self._stop = threading.Event()
        self._bar: Progress | None = None

    def stop(self) -> None:
        """From now on every call raises AbandonedError."""
        self._stop.set()

    def __call__(self, stage: str, done: float) -> None:
        """Says how much of a stage is done. Raises AbandonedError after `stop`."""
        if self._stop.is_set():
            raise AbandonedError
        failpoint(f"refresh.{stage}")
        self._metrics.refresh_progress.labels(stage).set(done)
        if self._bar is not None:
            task = next((task.id for task in self._bar.tasks if task.description == stage), None)
            self._bar.update(self._bar.add_task(stage, total=1.0) if task is None else task, completed=done)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """One refresh: a bar while it lasts, on a terminal only."""
        for stage in STAGES:
            self._metrics.refresh_progress.labels(stage).set(0.0)
        if not self._console.is_terminal:
            yield
            return
        columns = (TextColumn("refresh: {task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as bar:
            self._bar = bar
            try:
                yield
            finally:
                self._bar = None
