"""Protocols: which part of a log is learned from, which is asked about, and when."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from stream.evaluation.answering import Answer, answerer
from stream.evaluation.log_file import EventLog
from stream.evaluation.tally import Counted, summary
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.learning import NothingToLearnError, learn
from stream.knowledge.serving import Query
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.window import Window
from stream.settings import ModelSettings
from stream.state.user_state import Stamped, UserState, advance
from stream.wire.event_types import EventTypes
from stream.wire.messages import Event

BATCH = 256  # queries at a time, as a busy worker does
Progress = Callable[[str, float], None]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Plan:
    """What is asked of an evaluation. `clock` gives seconds, for the report's `seconds` alone."""

    model: str
    against: Sequence[str]
    cutoffs: Sequence[int]
    sample: float
    seed: int
    event_types: EventTypes
    settings: ModelSettings
    window_events: int
    clock: Clock
    progress: Progress = lambda _what, _done: None

    def tested(self, user_id: str) -> bool:
        """Whether a user is in the sample: by a hash of the id, so that it is the same in every run."""
        return zlib.crc32(f"{self.seed}:{user_id}".encode()) < self.sample * 2**32

    def learning_settings(self) -> ModelSettings:
        """The model's settings, without any training where nobody asks what was trained."""
        if {self.model, *self.against} & {"full", "neural"}:
            return self.settings
        return msgspec.structs.replace(self.settings, first_epochs=0, epochs=0, ranker_queries=0, held_out=0.0)


@dataclass
class Examiner:
    """Plays a log: advances user states, asks before each event of a tested user, learns when told to."""

    log: EventLog
    plan: Plan
    misses_unseen: bool  # whether a target that no recommender can know is a miss, or is not asked for
    catalogue: Catalogue = field(default_factory=Catalogue)
    snapshot: Snapshot | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: {"fit": 0.0, "answer": 0.0})
    states: dict[int, UserState] = field(default_factory=dict)
    learned_until: int = 0
    version: int = 0

    def __post_init__(self) -> None:
        self.window = Window(self.plan.event_types.names)
        self.tested = np.array([self.plan.tested(user_id) for user_id in self.log.user_ids], np.bool_)
        self.wanted = np.array(self.plan.event_types.weights)[self.log.types] > 0
        self._queue: list[tuple[Query, str]] = []
        self._empty()

    def learn(self, until: int) -> None:
        """A refresh over all events before position `until`; without anything to learn the snapshot stays."""
        begin, sessions = self.plan.clock(), self.log.sessions
        for at in range(self.learned_until, until):
            session = None if sessions is None else str(sessions[at])
            self.window.append(*self._event(at), session_id=session)
        self.window.trim(self.plan.window_events)
        new, self.learned_until = until - self.learned_until, until
        self.version += 1
        try:
            learned = learn(
                self.window,
                self.catalogue,
                self.snapshot,
                artifact_id=f"evaluation-{self.version:06d}",
                event_types=self.plan.event_types,
                model=self.plan.learning_settings(),
                seed=self.plan.seed,
                new_events=min(new, len(self.window)),
            )
        except NothingToLearnError:
            return
        self.snapshot = learned.snapshot
        models = dict.fromkeys((self.plan.model, *self.plan.against))
        self.answers = {model: answerer(model, learned.snapshot, self.catalogue) for model in models}
        self.seconds["fit"] += self.plan.clock() - begin

    def play(self, positions: Iterator[int] | range) -> None:
        """Asks and advances, event by event, in log order."""
        for at in positions:
            user = int(self.log.users[at])
            if not self.tested[user]:
                continue
            state = self.states.get(user)
            if state is None:
                state = self.states[user] = UserState()
            elif self.wanted[at]:
                self._ask(state, at)
            advance(state, [Stamped(at, Event(*self._event(at)))])

    def close_period(self, period: int) -> Counted:
        """What was counted since the last call; what still waits is answered by the snapshot of now."""
        self._flush()
        ranks = {model: np.array(found, np.int64) for model, found in self._ranks.items()}
        items = len(self.snapshot) if self.snapshot is not None else 0
        counted = Counted(period, ranks, self._shown, items, self._unseen)
        self._empty()
        return counted

    def _ask(self, state: UserState, at: int) -> None:
        if self.snapshot is None:
            return
        rows = self.snapshot.vocabulary.rows
        target = self.log.item_ids[self.log.items[at]]
        if target not in rows:
            self._unseen += 1
            if not self.misses_unseen:
                return
        if not self.misses_unseen and not any(item in rows for item in state.items):
            return
        query = Query(
            list(state.items), list(state.types), list(state.times), state.times[-1], count=max(self.plan.cutoffs)
        )
        self._queue.append((query, target))
        if len(self._queue) == BATCH:
            self._flush()

    def _flush(self) -> None:
        if not self._queue:
            return
        queries, targets = [query for query, _ in self._queue], [target for _, target in self._queue]
        self._queue = []
        count = max(self.plan.cutoffs)
        for model, answer in self.answers.items():
            begin = self.plan.clock()
            lists = answer(queries, count)
            if model == self.plan.model:
                self.seconds["answer"] += self.plan.clock() - begin
            self._ranks[model] += [_rank(target, listed) for target, listed in zip(targets, lists, strict=True)]
            self._shown[model].update(*lists)

    def _empty(self) -> None:
        models = dict.fromkeys((self.plan.model, *self.plan.against))
        self._ranks: dict[str, list[int]] = {model: [] for model in models}
        self._shown: dict[str, set[str]] = {model: set() for model in models}
        self._unseen = 0

    def _event(self, at: int) -> tuple[str, str, str, int]:
        log = self.log
        kind = self.plan.event_types.names[log.types[at]]
        return log.user_ids[log.users[at]], log.item_ids[log.items[at]], kind, int(log.times[at])


def periods(log: EventLog, plan: Plan) -> dict[str, Any]:
    """ADER's protocol (Mi et al., RecSys 2020): before each period everything earlier is learned, then nothing changes.

    Asked is for every next item of every tested user, of whom the own state is live. Candidates are all items seen so
    far; a target that was never seen before the period is not asked for, nor is one whose user has shown unseen items
    only.
    """
    examiner = Examiner(log, plan, misses_unseen=False)
    names = np.unique(log.periods)
    counted = []
    for number, period in enumerate(names.tolist()):
        first, last = (int(np.searchsorted(log.periods, period, side)) for side in ("left", "right"))
        if number:
            plan.progress(f"period {period}: learning", number / len(names))
            examiner.learn(first)
            plan.progress(f"period {period}: asking", (number + 0.6) / len(names))
        examiner.play(range(first, last))
        if number:
            counted.append(examiner.close_period(period))
    return summary(counted, plan.cutoffs, plan.model, examiner.seconds, by_period=True)


def prequential(log: EventLog, plan: Plan, refreshes: Sequence[int]) -> dict[str, Any]:
    """Test, then learn (Gama et al., Machine Learning 2013): every wanted event is asked for from the state before it.

    `refreshes`: positions before which all earlier events are learned. Nothing is asked before the first artifact; from
    then on a target that is in no vocabulary yet is a miss.
    """
    examiner = Examiner(log, plan, misses_unseen=True)
    ends = [*[at for at in refreshes if 0 < at < len(log)], len(log)]
    counted, begin = [], 0
    for number, end in enumerate(ends):
        examiner.play(range(begin, end))
        part = examiner.close_period(number)
        if len(part.ranks[plan.model]):
            counted.append(part)
        if end < len(log):
            plan.progress(f"{end:,} of {len(log):,} events", end / len(log))
            examiner.learn(end)
        begin = end
    return summary(counted, plan.cutoffs, plan.model, examiner.seconds, by_period=False)


def refreshes_by_events(log: EventLog, events: int) -> list[int]:
    """Every so many events."""
    return list(range(events, len(log), events))


def refreshes_by_time(log: EventLog, milliseconds: int) -> list[int]:
    """Whenever so much event time has passed, and something has happened in it."""
    steps = (log.times - log.times[:1]) // milliseconds
    return (np.flatnonzero(np.diff(steps) > 0) + 1).tolist()


def leave_last_out(log: EventLog, plan: Plan) -> dict[str, Any]:
    """All but each user's last event is learned, the last one is asked for. For sequences rather than streams."""
    last = np.zeros(len(log.user_ids), np.int64)
    last[log.users] = np.arange(len(log))
    is_last = np.zeros(len(log), np.int64)
    is_last[last] = 1
    two = replace(log, periods=is_last)
    return periods(two.take(np.argsort(is_last, kind="stable")), plan)


def _rank(target: str, listed: list[str]) -> int:
    try:
        return listed.index(target) + 1
    except ValueError:
        return 0
