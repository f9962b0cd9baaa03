"""A refresh says how far it is, on a terminal with a bar, and can be abandoned."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from stream.metrics import TrainerMetrics
from stream.trainer.progress import AbandonedError, RefreshProgress


def test_progress_is_a_metric_and_a_bar_on_a_terminal_only() -> None:
    """Each stage's share is in the metric; its name is drawn on a terminal, and nothing is written to a pipe."""
    for terminal in (True, False):
        written, metrics = io.StringIO(), TrainerMetrics()
        progress = RefreshProgress(metrics, Console(file=written, force_terminal=terminal, width=80))
        with progress.shown():
            progress("fit", 0.25)
            progress("fit", 0.5)
        assert b'alluvium_refresh_progress{stage="fit"} 0.5' in metrics.text()
        assert ("refresh: fit" in written.getvalue()) is terminal
        with progress.shown():
            assert b'alluvium_refresh_progress{stage="fit"} 0.0' in metrics.text()


def test_a_stopping_trainer_abandons_its_refresh_at_the_next_step() -> None:
    """After `stop` the next report of progress raises, in whatever thread it is made."""
    progress = RefreshProgress(TrainerMetrics(), Console(file=io.StringIO()))
    progress("fit", 0.1)
    progress.stop()
    with pytest.raises(AbandonedError):
        progress("fit", 0.2)
