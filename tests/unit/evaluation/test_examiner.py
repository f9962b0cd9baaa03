"""What is asked: histories as a plain fold of the log gives them, and the lists that serving makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest

from stream.evaluation import examiner
from stream.evaluation.answering import Answerer
from stream.evaluation.event_log import EventLog
from stream.evaluation.protocols import periods
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.serving import LivePopularity, Query, Serving
from stream.knowledge.snapshot import Snapshot
from stream.settings import RecommendSettings
from tests.planted_logs import MINUTE, TYPES, plan

Asked = tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...], int, tuple[str, ...]]


class Listening(Answerer):
    """Remembers what it was asked, and holds its lists against those of a worker's serving of the same snapshot."""

    asked: ClassVar[list[Query]] = []

    def __init__(self, model: str, snapshot: Snapshot, catalogue: Catalogue, recommend: RecommendSettings) -> None:
        super().__init__(model, snapshot, catalogue, recommend)
        self._worker = Serving(snapshot, Catalogue(), LivePopularity())

    def answer(self, queries: Sequence[Query], count: int) -> list[list[str]]:
        self.asked.extend(queries)
        lists = super().answer(queries, count)
        assert lists == [self._worker.recommend([query])[0].item_ids for query in queries]
        return lists


def random_log(seed: int, events: int = 2_000) -> EventLog:
    """Few users with long histories, all event types, equal times now and then."""
    rng = np.random.default_rng(seed)
    return EventLog(
        [f"u{user}" for user in range(15)],
        [f"i{item}" for item in range(40)],
        rng.integers(15, size=events),
        rng.integers(40, size=events),
        rng.choice(len(TYPES.names), size=events, p=[0.6, 0.1, 0.15, 0.1, 0.05]),
        np.cumsum(rng.integers(2, size=events)) * MINUTE,
        np.sort(rng.integers(3, size=events)),
        None,
    )


def plain_fold(log: EventLog) -> list[Asked]:
    """What each wanted event of periods 1 and 2 must be asked with, by lists alone."""
    past: dict[int, list[tuple[str, str, int]]] = {}
    asked = []
    for at in range(len(log)):
        user, kind = int(log.users[at]), TYPES.names[log.types[at]]
        before = past.setdefault(user, [])
        if before and log.periods[at] > 0 and TYPES.is_positive(kind):
            items, types, times = zip(*before[-50:], strict=True)
            bought = [item for item, what, _ in before if what == "purchase"]
            latest_last = tuple(dict.fromkeys(reversed(bought)))[::-1]
            asked.append((items, types, times, times[-1], latest_last))
        before.append((log.item_ids[log.items[at]], kind, int(log.times[at])))
    return asked


@pytest.mark.parametrize("seed", [0, 1])
def test_each_question_is_asked_from_the_state_before_its_event(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Histories of up to 50, purchases once each, and every list as a worker's serving makes it one by one."""
    monkeypatch.setattr(examiner, "Answerer", Listening)
    monkeypatch.setattr(Listening, "asked", [])
    log = random_log(seed)
    result = periods(log, plan("full"))
    found = [
        (tuple(query.items), tuple(query.types), tuple(query.times), query.now, tuple(query.purchased))
        for query in Listening.asked
    ]
    assert found == plain_fold(log)
    assert result["queries"] == len(found)
