"""The play itself: user states advance through a log, questions are asked before events, and versions follow."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stream.evaluation.answering import FROZEN, Answerer
from stream.evaluation.event_log import NO_SESSION, EventLog
from stream.evaluation.plan import TRAINED, Plan
from stream.evaluation.tally import Counted, rank_in
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.gate import judge
from stream.knowledge.learning import NothingToLearnError, learn
from stream.knowledge.remembering import POPULAR, Remembered
from stream.knowledge.serving import Query
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.window import Window
from stream.queries import state_query
from stream.state.user_state import Stamped, UserState, advance
from stream.wire.messages import Event

BATCH = 256  # queries at a time, as a busy worker does
TELL = 40  # batches between two looks at the progress


@dataclass
class Questions:
    """What was asked since a period began, and what it came to. `places` are positions in the log."""

    names: list[str]
    queries: list[Query] = field(default_factory=list)  # those not answered yet
    places: list[int] = field(default_factory=list)
    cold: list[bool] = field(default_factory=list)
    counted: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ranks: dict[str, list[int]] = {name: [] for name in self.names}
        self.shown: dict[str, set[str]] = {name: set() for name in self.names}

    def add(self, query: Query, place: int, *, cold: bool, counted: bool) -> None:
        """One more question."""
        self.queries.append(query)
        self.places.append(place)
        self.cold.append(cold)
        self.counted.append(counted)

    def answered(self, name: str, targets: list[str], lists: list[list[str]]) -> None:
        """The lists of one recommender for all that waits."""
        self.ranks[name] += map(rank_in, targets, lists)
        self.shown[name].update(*lists)


class Examiner:
    """Plays a log: advances user states, asks before each event of a tested user, learns when told to.

    `live`: news of items is heard while questions are asked, and a target without any event before the last refresh
    counts in the means. Otherwise, as the published protocols have it, neither does such a target count nor a query of
    a user who has shown nothing but such items.
    """

    def __init__(self, log: EventLog, plan: Plan, *, live: bool) -> None:
        self.log, self.plan = log, plan
        self.snapshot: Snapshot | None = None  # the newest that was published
        self.refreshes = {"published": 0, "refused": 0}
        self.seconds = {"fit": dict.fromkeys(plan.names, 0.0), "answer": dict.fromkeys(plan.names, 0.0)}
        self.asked = 0
        self._live = live
        self._items = 0  # that could be recommended
        self._catalogue, self._heard = Catalogue(), 0
        self._window, self._appended, self._learned = Window(plan.event_types.names), 0, 0
        self._memory = Remembered(self._window, self._catalogue, plan.event_types, plan.settings)
        self._seen: set[str] = set()  # items with an event before the last refresh, which was before this position:
        self._refreshed = 0
        self._answerers: dict[str, Answerer] = {}
        self._states: dict[int, UserState] = {}
        self._tested = np.array([plan.tested(user_id) for user_id in log.user_ids], np.bool_)
        self._last = log.last_of_users()
        self._sessions = np.full(len(log), NO_SESSION) if log.sessions is None else log.sessions
        self._counting = {name for name in plan.names if name not in TRAINED}
        self._questions = Questions(plan.names)

    def learn(self, until: int) -> None:
        """A refresh over all events before position `until`, judged by the gate as in the live system.

        Where there is nothing to learn, or where the gate refuses, the version before goes on answering.
        """
        self._flush()
        plan, begin = self.plan, self.plan.clock()
        self._take_in(until)
        since = np.unique(self.log.items[self._refreshed : until]).tolist()
        self._seen.update(self.log.item_ids[item] for item in since)
        self._refreshed = until
        try:
            learned = learn(
                self._window,
                self._catalogue,
                self.snapshot,
                artifact_id=f"evaluation-{sum(self.refreshes.values()) + 1:06d}",
                event_types=plan.event_types,
                model=plan.learning_settings(),
                seed=plan.seed,
                new_events=min(until - self._learned, len(self._window)),
                intent=plan.intent,
            )
        except NothingToLearnError:
            return
        finally:
            self.seconds["fit"][plan.model] += plan.clock() - begin
        if not judge(learned.report, plan.settings).passed:
            self.refreshes["refused"] += 1
            return
        self.refreshes["published"] += 1
        self.snapshot, self._learned = learned.snapshot, until
        self._answer_from(learned.snapshot, self._counting)

    def remember(self, until: int) -> None:
        """The memories of the version that answers, rebuilt from all events before position `until`."""
        self._flush()
        begin = self.plan.clock()
        self._take_in(until)
        if self.snapshot is not None:
            remembered = self._memory.into(self.snapshot, min(until - self._learned, len(self._window)))
            self.seconds["fit"][self.plan.model] += self.plan.clock() - begin
            self._answer_from(remembered, self._counting - {POPULAR, *remembered.memories})

    def play(self, begin: int, end: int) -> None:
        """Asks and advances, event by event, in log order; a user's state is dropped after their last event."""
        log, kinds = self.log, self.plan.event_types.names
        part = np.arange(begin, end)[self._tested[log.users[begin:end]]]
        wanted = np.array(self.plan.event_types.weights)[log.types[part]] > 0
        columns = (part, log.users[part], log.items[part], log.types[part], log.times[part], wanted)
        for at, user, item, kind, time, is_wanted in zip(*(column.tolist() for column in columns), strict=True):
            state = self._states.get(user)
            if state is None:
                state = self._states[user] = UserState()
            elif is_wanted and self._answerers:
                self._ask(state, at, log.item_ids[item])
            if self._last[user] == at:
                del self._states[user]
            else:
                event = Event(log.user_ids[user], log.item_ids[item], kinds[kind], time)
                advance(state, (Stamped(at, event),))

    def close_period(self, period: int, begin: int) -> Counted:
        """What was counted since the last call; what still waits is answered by the version of now."""
        self._flush()
        done, self._questions = self._questions, Questions(self.plan.names)
        return Counted(
            period,
            int(self.log.times[begin]),
            self.log.users[np.array(done.places, np.int64)],
            np.array(done.cold, np.bool_),
            np.array(done.counted, np.bool_),
            {name: np.array(ranks, np.int64) for name, ranks in done.ranks.items()},
            done.shown,
            self._items,
            np.array(self.plan.event_types.names)[self.log.types[np.array(done.places, np.int64)]],
        )

    def report(self) -> dict[str, Any]:
        """What the JSON says of refreshes, of what was left out of the log, and of time."""
        fit, answer = self.seconds["fit"], self.seconds["answer"]
        cost: dict[str, Any] = {
            name: {
                "fit": fit[name],
                "answer": answer[name],
                "milliseconds_a_query": 1e3 * answer[name] / max(self.asked, 1),
            }
            for name in answer
        }
        if answer.get("covisitation"):
            for name, spent in cost.items():
                spent["answer_to_covisitation"] = answer[name] / answer["covisitation"]
        return {
            "seconds": {"fit": fit[self.plan.model], "answer": answer[self.plan.model]},
            "cost": cost,
            "refreshes": dict(self.refreshes),
            "left_out": dict(self.log.left_out),
        }

    def _ask(self, state: UserState, at: int, target: str) -> None:
        cold = target not in self._seen
        counted = self._live or not (cold or self._seen.isdisjoint(state.items))
        kept = UserState(items=state.items[:], types=state.types[:], times=state.times[:], purchased=state.purchased[:])
        plan = self.plan
        query = state_query(kept, count=max(plan.cutoffs), filters=plan.filters, explain=False, intent=plan.intent)
        self._questions.add(query, at, cold=cold, counted=counted)
        if len(self._questions.queries) == BATCH:
            self._flush()

    def _flush(self) -> None:
        """Answers what waits, by every recommender."""
        asked = self._questions
        queries, asked.queries = asked.queries, []
        if not queries:
            return
        if self._live:
            self._hear(asked.places[-len(queries)])
        targets = [self.log.item_ids[item] for item in self.log.items[asked.places[-len(queries) :]].tolist()]
        self.asked += len(queries)
        for name, answerer in self._answerers.items():
            begin = self.plan.clock()
            lists = answerer.answer(queries, max(self.plan.cutoffs))
            self.seconds["answer"][name] += self.plan.clock() - begin
            asked.answered(name, targets, lists)
        if self.asked // BATCH % TELL == 0:
            self.plan.progress(f"{self.asked:,} queries", asked.places[-1] / len(self.log))

    def _take_in(self, until: int) -> None:
        """Adds the events before `until` to the window, and what was heard of items to the catalogue."""
        log, kinds, begin = self.log, self.plan.event_types.names, self._appended
        columns = (log.users, log.items, log.types, log.times, self._sessions)
        parts = (column[begin:until].tolist() for column in columns)
        for user, item, kind, time, session in zip(*parts, strict=True):
            name = None if session == NO_SESSION else str(session)
            self._window.append(log.user_ids[user], log.item_ids[item], kinds[kind], time, name)
        self._appended = max(until, begin)
        self._window.trim(self.plan.window_events)
        self._hear(until)

    def _hear(self, until: int) -> None:
        """Takes over what was heard of items before position `until`."""
        while self._heard < len(self.log.news) and self.log.news[self._heard].position <= until:
            _, item_id, item = self.log.news[self._heard]
            self._catalogue.apply(0, self._heard, item_id, item)
            self._heard += 1
            for answerer in self._answerers.values():
                answerer.item_changed(item_id)

    def _answer_from(self, snapshot: Snapshot, alone: Collection[str]) -> None:
        """All recommenders but the frozen one answer from this version from now on.

        Those named in `alone` are built for themselves, which says what they cost.
        """
        self._items = len({*snapshot.vocabulary.ids, *(item.item_id for item in self._catalogue.items())})
        for name in self.plan.names:
            whole = snapshot
            if name in alone:
                begin = self.plan.clock()
                whole = self._memory.alone(name, snapshot)
                self.seconds["fit"][name] += self.plan.clock() - begin
            if name != FROZEN:
                self._answerers[name] = Answerer(name, whole, self._catalogue, self.plan.recommend)
            elif FROZEN not in self._answerers:
                self._answerers[FROZEN] = self._answerers[self.plan.model]
