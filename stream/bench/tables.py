"""Results as tables: lines of text that are Markdown, too. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from stream.bench.bench import Result
from stream.bench.field import ALLUVIUM, FIELD
from stream.bench.measuring import Spread
from stream.bench.throughput import Outcome

HEAD = ("", "lists/s", "Alluvium to it", "CPU µs/list", "lists/event", "")


def throughput_table(result: Result) -> str:
    """Each contender's lists a second, and Alluvium's as a multiple of them, round by round."""
    ours = result.outcomes.get(ALLUVIUM.name, [])
    rows = [_row(name, outcomes, ours) for name, outcomes in result.outcomes.items() if outcomes]
    return aligned([HEAD, *rows])


def stage_table(outcomes: Sequence[Outcome]) -> str:
    """Microseconds an event by stage, from the worker's own metrics."""
    stages = outcomes[0].stages if outcomes else {}
    spreads = {stage: Spread.of([outcome.stages.get(stage, 0.0) for outcome in outcomes]) for stage in stages}
    return aligned([("stage", "µs/event"), *((stage, _spread(spread, 1)) for stage, spread in spreads.items())])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown whose columns line up in a terminal; the first row is its head.

    >>> print(aligned([("", "a"), ("long", "1")]))
    |      | a |
    |------|---|
    | long | 1 |
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    head, *rest = [f"| {' | '.join(row)} |" for row in padded]
    return "\n".join([head, f"|{'|'.join('-' * (width + 2) for width in widths)}|", *rest])


def _row(name: str, outcomes: Sequence[Outcome], ours: Sequence[Outcome]) -> tuple[str, ...]:
    rates = [outcome.rate.per_second for outcome in outcomes]
    ratios = [our.rate.per_second / rate for our, rate in zip(ours, rates, strict=False)]
    remarks = [FIELD[name].note] if FIELD[name].note else []
    lost = sum(outcome.checked.lost + outcome.checked.letters_lost for outcome in outcomes)
    if lost:
        remarks.append(f"LOST {lost}")
    if strange := sum(outcome.checked.strange for outcome in outcomes):
        remarks.append(f"{strange} strange lists")
    return (
        FIELD[name].title,
        _spread(Spread.of(rates), 0),
        _spread(Spread.of(ratios), 2) if ratios and name != ALLUVIUM.name else "",
        _spread(Spread.of([outcome.rate.cpu_microseconds for outcome in outcomes]), 1),
        f"{Spread.of([outcome.checked.lists_per_event for outcome in outcomes]).median:.3f}",
        "; ".join(remarks),
    )


def _spread(spread: Spread, digits: int) -> str:
    """`median (least–most)`."""
    return f"{spread.median:,.{digits}f} ({spread.least:,.{digits}f}–{spread.most:,.{digits}f})"
