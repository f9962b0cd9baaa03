"""Results as tables: lines of text that are Markdown, too. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from stream.bench.contenders.alone import Alone, Speed
from stream.bench.field import ALLUVIUM, FIELD
from stream.bench.measuring import Spread
from stream.bench.paced import Idle, Paced
from stream.bench.suites import Throughput
from stream.bench.throughput import Outcome

HEAD = ("", "lists/s", "Alluvium to it", "CPU µs/list", "lists/event", "")

ALONE: dict[str, Callable[[Alone], Speed]] = {
    "the recommender alone, batches of 256": lambda alone: alone.batched,
    "the recommender alone, one by one": lambda alone: alone.single,
}


def document(results: Mapping[str, Throughput | Paced | Idle], problems: Sequence[str]) -> str:
    """All results, each suite under its name, and what went wrong."""
    parts = []
    for suite, result in results.items():
        parts += [f"**{suite}**", *_parts(result)]
    return "\n\n".join([*parts, *problems]) + "\n"


def _parts(result: Throughput | Paced | Idle) -> list[str]:
    if isinstance(result, Paced):
        return [latency_table(result)]
    if isinstance(result, Idle):
        percents = [100 * share for share in result.shares]
        return [f"{_spread(Spread.of(percents), 1)} % of a core"] if percents else []
    ours = result.outcomes.get(ALLUVIUM.name, [])
    return [throughput_table(result), *([stage_table(ours)] if ours else [])]


def throughput_table(result: Throughput) -> str:
    """Each contender's lists a second, and Alluvium's as a multiple of them, round by round."""
    ours = result.outcomes.get(ALLUVIUM.name, [])
    rows = [_row(name, outcomes, ours) for name, outcomes in result.outcomes.items() if outcomes]
    if result.alone:
        rows += [_alone_row(title, result.alone, ours, which) for title, which in ALONE.items()]
    return aligned([HEAD, *rows])


def latency_table(result: Paced) -> str:
    """Milliseconds for each of what was run."""
    head = ("", "events/s", "p50 ms", "p95 ms", "p99 ms", "answered", "missing")
    rows = []
    for title, found in result.latencies.items():
        if not found:
            continue
        spreads = [Spread.of([getattr(each, name) for each in found]) for name in ("p50", "p95", "p99")]
        cells = [_spread(Spread.of([each.rate for each in found]), 0), *(_spread(spread, 1) for spread in spreads)]
        missing = sum(each.missing for each in found)
        rows.append((title, *cells, f"{sum(each.sent for each in found) - missing:,}", str(missing)))
    return aligned([head, *rows, *_compared(result)])


def stage_table(outcomes: Sequence[Outcome]) -> str:
    """Microseconds an event by stage, by the worker's metrics, and of processor time in all; one outcome at least."""
    stages = outcomes[0].stages
    spreads = {stage: Spread.of([outcome.stages.get(stage, 0.0) for outcome in outcomes]) for stage in stages}
    whole = Spread.of([outcome.rate.cpu_microseconds * outcome.checked.lists_per_event for outcome in outcomes])
    rows = [(stage, _spread(spread, 1)) for stage, spread in spreads.items()]
    return aligned([("stage", "µs/event"), *rows, ("CPU of the whole process", _spread(whole, 1))])


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
    remarks = [FIELD[name].note] if FIELD[name].note else []
    lost = sum(outcome.checked.lost + outcome.checked.letters_lost for outcome in outcomes)
    if lost:
        remarks.append(f"LOST {lost}")
    if strange := sum(outcome.checked.strange for outcome in outcomes):
        remarks.append(f"{strange} strange lists")
    return (
        FIELD[name].title,
        _spread(Spread.of(rates), 0),
        _ratio(ours, rates) if name != ALLUVIUM.name else "",
        _spread(Spread.of([outcome.rate.cpu_microseconds for outcome in outcomes]), 1),
        f"{Spread.of([outcome.checked.lists_per_event for outcome in outcomes]).median:.3f}",
        "; ".join(remarks),
    )


def _compared(result: Paced) -> list[tuple[str, ...]]:
    """One as a multiple of the other, round by round."""
    if result.compared is None:
        return []
    one, other = (result.latencies.get(title, []) for title in result.compared)
    if not (one and other):
        return []
    cells = []
    for name in ("p50", "p95", "p99"):
        ratios = [getattr(our, name) / getattr(their, name) for our, their in zip(one, other, strict=False)]
        cells.append(f"{_spread(Spread.of(ratios), 2)} ×")
    return [(" to ".join(result.compared), "", *cells, "", "")]


def _alone_row(
    title: str, alone: Sequence[Alone], ours: Sequence[Outcome], which: Callable[[Alone], Speed]
) -> tuple[str, ...]:
    rates = [which(made).per_second for made in alone]
    spent = [1e6 / which(made).per_cpu_second for made in alone]
    return title, _spread(Spread.of(rates), 0), _ratio(ours, rates), _spread(Spread.of(spent), 1), "", "no stream"


def _ratio(ours: Sequence[Outcome], rates: Sequence[float]) -> str:
    """Ours as a multiple, round by round."""
    ratios = [our.rate.per_second / rate for our, rate in zip(ours, rates, strict=False)]
    return _spread(Spread.of(ratios), 2) if ratios else ""


def _spread(spread: Spread, digits: int) -> str:
    """`median (least–most)`."""
    return f"{spread.median:,.{digits}f} ({spread.least:,.{digits}f}–{spread.most:,.{digits}f})"
