"""What `alluvium evaluate` shows to people: tables, and a picture of quality over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from stream.cli.common import fail, print_json, stdout
from stream.evaluation.tally import condensed

MOST_ROWS = 40  # of the table by period: a refresh every half hour makes thousands
MOST_POINTS = 60  # of the picture

wide = Console(highlight=False, width=250)


def show(result: Mapping[str, Any], model: str) -> None:
    """Prints an evaluation's result as tables."""
    _print(_means(result, model))
    if any(result["differences"].values()):
        _print(_differences(result))
    if result["cold"]["queries"]:
        title = "by target: items with and without events before the refresh"
        _print(_groups(title, {name: result[name] for name in ("known", "cold")}, result, model))
    if result["by_type"]:
        _print(_groups("by the event type of the target", result["by_type"], result, model))
    _print(_periods(result))
    _print(_costs(result))
    refreshes, out = result["refreshes"], result["left_out"]
    stdout.print(
        f"coverage {result['coverage']:.3f}, {refreshes['published']} versions, {refreshes['refused']} refused"
    )
    if out:
        stdout.print("left out: " + ", ".join(f"{count:,} {reason}" for reason, count in out.items()))


def show_served(result: Mapping[str, Any], *, json: bool) -> None:
    """Prints what workers scored, made again: by artifact, and beside popularity."""
    if json:
        print_json(result)
        return
    names = list(result["mean"])
    table = _table("lists as they were served", "artifact", "queries", *names)
    rows = {"all": {"queries": result["queries"], **result["mean"]}, **result["by_artifact"]}
    rows["popular"] = {"queries": result["queries"], **result["against"]["popular"]}
    for title, found in rows.items():
        table.add_row(title, f"{found['queries']:,}", *(f"{found[name]:.4f}" for name in names))
    _print(table)
    if result["left_out"]:
        stdout.print("left out: " + ", ".join(f"{count:,} {reason}" for reason, count in result["left_out"].items()))


def _means(result: Mapping[str, Any], model: str) -> Table:
    found = {model: result["mean"], **result["against"]}
    intervals = {model: result["intervals"], **result["intervals_against"]}
    table = _table(f"{result['queries']:,} queries; ± is half of the 95 % interval", "", *found)
    for name in result["mean"]:
        cells = (_with_interval(values[name], intervals[title].get(name)) for title, values in found.items())
        table.add_row(name, *cells)
    return table


def _differences(result: Mapping[str, Any]) -> Table:
    """Of the largest cut-off."""
    table = _table("better than the baselines by", "", "", "difference", "95 % interval")
    for title, found in result["differences"].items():
        for name in list(found)[-3:]:
            low, high = found[name]["interval"]
            table.add_row(title, name, f"{found[name]['difference']:+.4f}", f"{low:+.4f} to {high:+.4f}")
    return table


def _groups(title: str, groups: Mapping[str, Any], result: Mapping[str, Any], model: str) -> Table:
    names = list(result["mean"])[-3:]
    table = _table(title, "", "", "queries", *names)
    for group_name, group in groups.items():
        for name, values in {model: group, **group["against"]}.items():
            table.add_row(group_name, name, f"{group['queries']:,}", *(f"{values[key]:.4f}" for key in names))
    return table


def _periods(result: Mapping[str, Any]) -> Table:
    names, against = list(result["mean"])[-3:-1], list(result["against"])
    headings = ("period", "begins", "queries", "unseen", *names, *(f"{names[0]} of {name}" for name in against))
    table = _table("by period", *headings)
    for one in condensed(result["periods"], MOST_ROWS):
        values = [one[name] for name in names] + [one["against"][name][names[0]] for name in against]
        cells = [f"{value:.4f}" for value in values]
        table.add_row(str(one["period"]), one["begins"][:16], f"{one['queries']:,}", f"{one['unseen']:,}", *cells)
    return table


def _costs(result: Mapping[str, Any]) -> Table:
    table = _table("seconds", "", "learning", "answering", "ms a query", "to covisitation's")
    for name, spent in result["cost"].items():
        ratio = spent.get("answer_to_covisitation")
        cells = (f"{spent['fit']:.1f}", f"{spent['answer']:.1f}", f"{spent['milliseconds_a_query']:.3f}")
        table.add_row(name, *cells, "" if ratio is None else f"{ratio:.1f}")
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for at, heading in enumerate(headings):
        table.add_column(heading, justify="right" if at else "left")
    return table


def _print(table: Table) -> None:
    """In a file or a pipe a table is as wide as it needs to be."""
    (stdout if stdout.is_terminal else wide).print(table)


def _with_interval(value: float, interval: Sequence[float] | None) -> str:
    return f"{value:.4f}" if interval is None else f"{value:.4f} ±{(interval[1] - interval[0]) / 2:.4f}"


def check_plot(file: Path) -> None:
    """Ends the command where no picture could be drawn, before the long work begins."""
    try:
        import matplotlib  # noqa: F401, PLC0415  # optional
    except ImportError:
        fail("--plot needs matplotlib, which is not installed: pip install 'alluvium[plot]'")
    if not file.parent.is_dir():
        fail(f"--plot: there is no directory {file.parent}")


def plot(result: Mapping[str, Any], model: str, file: Path) -> None:
    """Draws Recall and MRR over time, the model's line against those of the baselines."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  # optional, and slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    periods = condensed([one for one in result["periods"] if one["queries"]], MOST_POINTS)
    moments = [datetime.fromisoformat(one["begins"]) for one in periods]
    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(2, 1, sharex=True)
    for axes, name in zip(all_axes, list(result["mean"])[-3:-1], strict=True):
        axes.plot(moments, [one[name] for one in periods], label=model, linewidth=2, marker=".")
        for baseline in result["against"]:
            values = [one["against"][baseline][name] for one in periods]
            axes.plot(moments, values, label=baseline, linewidth=1, linestyle="--")
        axes.set_ylabel(name)
        axes.set_ylim(bottom=0)
        axes.grid(visible=True, alpha=0.3)
    all_axes[0].legend()
    figure.autofmt_xdate()
    try:
        figure.savefig(file, dpi=120)
    except (OSError, ValueError) as error:
        fail(f"--plot: {error}")
