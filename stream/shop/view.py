"""Shows a running demo: a live view on a terminal, the same as plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stream.shop.watching import DEPTH, Facts, Hits

PLAIN_SECONDS = 5.0  # between two plain lines


class View(Protocol):
    """What the demo speaks through."""

    def say(self, text: str) -> None:
        """One thing that happened."""

    def show(self, facts: Facts, story: Sequence[str]) -> None:
        """How things stand."""

    def close(self) -> None:
        """No more is shown."""


class PlainView:
    """A line for each thing that happened, and a line of figures every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0
        self._told: list[str] = []

    def say(self, text: str) -> None:
        """One line."""
        self._console.print(text, markup=False, soft_wrap=True)

    def show(self, facts: Facts, story: Sequence[str]) -> None:
        """The figures when a line is due, and each new story once."""
        if facts.elapsed < self._next:
            return
        self._next = facts.elapsed + PLAIN_SECONDS
        self.say(figures(facts))
        if story and list(story) != self._told:
            self._told = list(story)
            self.say("\n".join(f"        {line}" for line in story))

    def close(self) -> None:
        """Nothing is left open."""


class LiveView:
    """A picture that is redrawn, with what happened scrolling by above it."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=4, transient=False)
        self._console = console
        self._started = False

    def say(self, text: str) -> None:
        """A line above the picture."""
        self._console.print(text, markup=False)

    def show(self, facts: Facts, story: Sequence[str]) -> None:
        """Redraws the picture."""
        if not self._started:
            self._live.start()
            self._started = True
        self._live.update(picture(facts, story))

    def close(self) -> None:
        """Leaves the last picture standing."""
        if self._started:
            self._live.stop()
            self._started = False


def figures(facts: Facts) -> str:
    """All figures in one line."""
    minutes, seconds = divmod(int(facts.elapsed), 60)
    parts = [
        f"{minutes:02d}:{seconds:02d}",
        f"events {facts.events:,} ({facts.events_per_second:.0f}/s)",
        f"lag {facts.lag:.0f}",
        f"lists {facts.lists:,} ({facts.lists_per_second:.0f}/s)",
        f"event→list {_latency(facts)}",
        f"artifact {_artifact(facts)}",
        f"refresh {_stage(facts)[0]}",
        f"hit rate@{DEPTH} {_rates(facts.recent)} (last 30 s), {_rates(facts.hits)} (all)",
        f"dead letters {facts.dead}",
    ]
    return " | ".join(parts)


def picture(facts: Facts, story: Sequence[str]) -> RenderableType:
    """All figures, the refresh as a bar, the hit rates as bars, and the story."""
    flow = Table.grid(padding=(0, 3))
    flow.add_row("events", f"{facts.events:,}", f"{facts.events_per_second:.0f}/s", "lag", f"{facts.lag:.0f}")
    flow.add_row("lists", f"{facts.lists:,}", f"{facts.lists_per_second:.0f}/s", "event→list", _latency(facts))
    flow.add_row("new items", str(facts.items_new), "", "lists taken up", f"{facts.reactions:,}")
    flow.add_row("dead letters", str(facts.dead), "", "without a list yet", str(facts.unanswered))
    stage, done = _stage(facts)
    learning = Table.grid(padding=(0, 2))
    learning.add_row("artifact", _artifact(facts), f"{facts.artifacts_served} served so far")
    learning.add_row("refresh", ProgressBar(total=1.0, completed=done, width=30), stage)
    scores = Table.grid(padding=(0, 2))
    for name, hits in (("last 30 s", facts.recent), ("all", facts.hits)):
        ours, popular = hits.rates() or (0.0, 0.0)
        scores.add_row(name, "ours", ProgressBar(total=1.0, completed=ours, width=30), f"{ours:.3f}")
        scores.add_row("", "popularity", ProgressBar(total=1.0, completed=popular, width=30), f"{popular:.3f}")
    return Group(
        Panel(flow, title="the stream", title_align="left"),
        Panel(learning, title="what is learned", title_align="left"),
        Panel(scores, title=f"was the next item among the {DEPTH} offered?", title_align="left"),
        Panel(Text("\n".join(story) or "no personal list yet"), title="one shopper", title_align="left"),
    )


def _latency(facts: Facts) -> str:
    return "–" if facts.latency is None else f"p50 {facts.latency.p50:.0f} ms, p99 {facts.latency.p99:.0f} ms"


def _artifact(facts: Facts) -> str:
    return "none yet" if facts.artifact is None else f"{facts.artifact} (age {facts.artifact_age:.0f} s)"


def _rates(hits: Hits) -> str:
    found = hits.rates()
    return "–" if found is None else f"{found[0]:.3f} ours / {found[1]:.3f} popularity"


def _stage(facts: Facts) -> tuple[str, float]:
    """The stage that a refresh is in, and how much of all its stages is done."""
    stages = facts.refresh
    if not stages or not any(stages.values()):
        return "waiting", 0.0
    done = sum(stages.values()) / len(stages)
    running = next((name for name, value in stages.items() if value < 1), None)
    return ("complete", 1.0) if running is None else (f"{running} {stages[running]:.0%}", done)
