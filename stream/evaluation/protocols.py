"""Protocols: which part of a log is learned from, which is asked about, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stream.evaluation.event_log import EventLog
from stream.evaluation.examiner import Examiner
from stream.evaluation.plan import Plan
from stream.evaluation.tally import summary

__all__ = ["Plan", "leave_last_out", "periods", "prequential", "refreshes_by_events", "refreshes_by_time"]

FIRST_TENTH = 10  # what is learned from where nothing is ever refreshed


def periods(log: EventLog, plan: Plan, refreshes: Sequence[int] = ()) -> dict[str, Any]:
    """ADER's protocol (Mi et al., RecSys 2020): before each period everything earlier is learned, then nothing changes.

    Asked is for every next item of every tested user, of whom the own state is live. Candidates are all items seen so
    far. In the means, a target that was never seen before the period does not count, nor does one whose user has shown
    unseen items only. `refreshes`: positions before which the memories (what only counts: no network, no ranker) are
    rebuilt from all earlier events, as in the live system between two fits; without any the published protocol.
    """
    examiner = Examiner(log, plan, live=False)
    names = np.unique(log.periods)
    counted = []
    for number, period in enumerate(names.tolist()):
        first, last = (int(np.searchsorted(log.periods, period, side)) for side in ("left", "right"))
        if number:
            plan.progress(f"period {period}: learning", first / len(log))
            examiner.learn(first)
        for begin, end in _between(first, last, refreshes if number else ()):
            if begin > first:
                examiner.remember(begin)
            examiner.play(begin, end)
        if number:
            counted.append(examiner.close_period(period, first))
    return summary(counted, plan.cutoffs, plan.names, plan.seed, by_period=True) | examiner.report()


def prequential(log: EventLog, plan: Plan, refreshes: Sequence[int]) -> dict[str, Any]:
    """Test, then learn (Gama et al., Machine Learning 2013): every wanted event is asked for from the state before it.

    `refreshes`: positions before which all earlier events are learned. Nothing is asked before the first artifact; from
    then on a target without any event before the last refresh counts as well, and is also reported apart.
    """
    examiner = Examiner(log, plan, live=True)
    counted = []
    for number, (begin, end) in enumerate(_between(0, len(log), refreshes)):
        if begin:
            plan.progress(f"{begin:,} of {len(log):,} events: learning", begin / len(log))
            examiner.learn(begin)
        examiner.play(begin, end)
        part = examiner.close_period(number, begin)
        if len(part.users):
            counted.append(part)
    return summary(counted, plan.cutoffs, plan.names, plan.seed, by_period=False) | examiner.report()


def leave_last_out(log: EventLog, plan: Plan) -> dict[str, Any]:
    """All but each user's last event is learned, the last one is asked for. For sequences rather than streams.

    All targets count. Of hidden items (`plan.hide_items`) nothing but a last event is kept: they are on sale, yet
    nobody is known to have touched them.
    """
    hidden = np.array([plan.hidden(item_id) for item_id in log.item_ids], np.bool_)
    is_last = np.zeros(len(log), np.bool_)
    is_last[log.last_of_users()[np.unique(log.users)]] = True
    kept = np.flatnonzero(is_last | ~hidden[log.items])
    order = kept[np.argsort(is_last[kept], kind="stable")]
    log = replace(log.take(order), periods=is_last[order].astype(np.int64))
    first = int(np.searchsorted(log.periods, 1))
    examiner = Examiner(log, plan, live=True)
    plan.progress("learning", 0.0)
    examiner.play(0, first)
    examiner.learn(first)
    examiner.play(first, len(log))
    counted = [examiner.close_period(1, first)] if len(log) else []
    return summary(counted, plan.cutoffs, plan.names, plan.seed, by_period=False) | examiner.report()


def refreshes_by_events(log: EventLog, events: int) -> list[int]:
    """Every so many events."""
    return list(range(events, len(log), events))


def refreshes_by_time(log: EventLog, milliseconds: int) -> list[int]:
    """Whenever so much event time has passed, and something has happened in it."""
    latest = np.maximum.accumulate(log.times)
    steps = (latest - latest[:1]) // milliseconds
    return (np.flatnonzero(np.diff(steps) > 0) + 1).tolist()


def position_after(log: EventLog, milliseconds: int) -> int:
    """The first event after so much event time has passed."""
    latest = np.maximum.accumulate(log.times)
    return int(np.searchsorted(latest, latest[0] + milliseconds))


def refresh_once(log: EventLog) -> list[int]:
    """Once, after the first tenth of the events, and never again."""
    return [max(1, len(log) // FIRST_TENTH)]


def _between(first: int, last: int, cuts: Sequence[int]) -> list[tuple[int, int]]:
    """The stretches from first to last that begin at first and at the cuts in between."""
    begins = [first, *(cut for cut in cuts if first < cut < last)]
    return list(zip(begins, [*begins[1:], last], strict=True))
