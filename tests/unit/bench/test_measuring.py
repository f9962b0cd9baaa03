"""Rates, percentiles and checks against counts made by hand."""

from __future__ import annotations

import pytest

from stream.bench.checking import Listed, check
from stream.bench.logs import Sent
from stream.bench.measuring import Rate, Sample, Spread, middle_rate, percentile
from stream.bench.tables import aligned


def test_the_rate_is_the_slope_of_the_middle() -> None:
    """A slow start and a slow end do not count: between 20 and 80 of 100 records lie 3 s and 0.6 s of CPU."""
    samples = [
        Sample(0.0, 0, 1.0), Sample(50.0, 0, 9.0), Sample(60.0, 20, 10.0), Sample(62.0, 60, 10.4),
        Sample(63.0, 80, 10.6), Sample(90.0, 100, 11.0),
    ]  # fmt: skip
    assert middle_rate(samples) == Rate(20.0, 10_000.0)


def test_between_two_samples_records_arrive_evenly() -> None:
    """All 100 within one look of 2 s: 60 of them in 1.2 s."""
    assert middle_rate([Sample(0.0, 0), Sample(4.0, 0), Sample(6.0, 100)]) == Rate(50.0, 0.0)


@pytest.mark.parametrize("samples", [[], [Sample(0.0, 0), Sample(1.0, 0)]])
def test_nothing_has_no_rate(samples: list[Sample]) -> None:
    """Where nothing arrived there is no rate."""
    assert middle_rate(samples) is None


def test_percentiles_are_values_that_were_seen() -> None:
    """Nearest rank, by the definition: at least that share is not above it."""
    values = [10.0, 20.0, 30.0, 40.0, 50.0]
    assert [percentile(values, share) for share in (0.0, 0.2, 0.21, 0.5, 0.99, 1.0)] == [10, 10, 20, 30, 50, 50]


def test_spread() -> None:
    """Least, median, most."""
    assert Spread.of([5.0, 1.0, 2.0, 4.0]) == (1.0, 3.0, 5.0)


SENT = [
    Sent(0, 0, b"a", b"", "a"), Sent(0, 1, b"a", b"", "a"), Sent(0, 2, b"a", b"", None), Sent(1, 0, b"b", b"", "b"),
]  # fmt: skip


def test_an_exact_contender() -> None:
    """A list for each good event, a letter for the bad one."""
    checked = check(SENT, [Listed("a", (0, 0)), Listed("a", (0, 1)), Listed("b", (1, 0))], [(0, 2)], shared=False)
    assert checked.exact
    assert (checked.events, checked.lists, checked.bad, checked.lists_per_event) == (3, 3, 1, 1.0)


def test_a_later_list_answers_where_lists_are_shared() -> None:
    """One list for both events of a: nothing is lost where that is allowed, one list where it is not."""
    lists = [Listed("a", (0, 1)), Listed("b", (1, 0))]
    assert check(SENT, lists, [(0, 2)], shared=True).exact
    assert check(SENT, lists, [(0, 2)], shared=False).lost == 1


def test_what_is_missing_repeated_or_strange_is_counted() -> None:
    """No list for b, one of a's twice, one for a bad event, one of a stranger, no dead letter."""
    lists = [Listed("a", (0, 0)), Listed("a", (0, 1)), Listed("a", (0, 1)), Listed("a", (0, 2)), Listed("c", (0, 1))]
    checked = check(SENT, lists, [], shared=True)
    assert (checked.lost, checked.repeated, checked.strange, checked.letters_lost) == (1, 1, 2, 1)
    assert not checked.exact


def test_tables_are_markdown() -> None:
    """Columns are as wide as their widest cell."""
    assert aligned([("", "n"), ("wide", "10")]).splitlines() == ["|      | n  |", "|------|----|", "| wide | 10 |"]
