"""What workers scored while they ran, once more and from the log alone: the same events against the same lists.

An event is held against the list from its user's state just before it, by the artifact that answered the user's event
before. Lists are made again from stored artifacts, and states are folded anew, so nothing that a worker counted or kept
is believed; `recommendations` only tells which artifact answered when.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from aiokafka.structs import ConsumerRecord

from models.quality import hits_at, reciprocal_ranks_at
from stream.evaluation.served_lists import ServedLists, UnknownListError
from stream.evaluation.tally import rank_in, scores
from stream.kafka import read_topic
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.serving import LivePopularity, Query, Serving
from stream.knowledge.snapshot import Snapshot
from stream.queries import EventQueries, ScoredEvents
from stream.settings import Settings
from stream.state.user_state import Outcome, Stamped, UserState, advance, copied
from stream.wire.decoding import Decoder, Rejection
from stream.wire.messages import Event
from stream.wire.topics import EVENTS, ITEMS, RECOMMENDATIONS

MOST_WAITING = 20_000  # questions: an artifact is opened once for all that wait for it
DUPLICATE, FIRST, GONE = "duplicate", "first_of_user", "artifact_gone"

Open = Callable[[str], Snapshot | None]
Kind = tuple[str, str]  # artifact and event type


class _Question(NamedTuple):
    """What a list is made again with, the event that it is held against, and the artifact that answered that one."""

    query: Query
    item_id: str
    event_type: str
    answered_by: str | None


class ServedAgain:
    """Takes the records of `events`, each partition in order, and asks what workers asked."""

    def __init__(
        self, settings: Settings, *, lists: ServedLists, catalogue: Catalogue, open_artifact: Open, deepest: int
    ) -> None:
        """`deepest` is the largest cut-off; `open_artifact` gives None for an artifact that is gone."""
        self.left_out: Counter[str] = Counter()
        self.ranks: dict[Kind, list[int]] = {}
        self.popular_ranks: list[int] = []
        self._settings, self._deepest = settings, deepest
        self._lists, self._catalogue, self._open = lists, catalogue, open_artifact
        self._decoder, self._queries = Decoder(settings.events), EventQueries.of(settings)
        self._scored = ScoredEvents.of(settings)
        self._states: dict[tuple[int, str], UserState] = {}
        self._waiting: dict[str, list[_Question]] = {}
        self._count = 0

    def event(self, record: ConsumerRecord) -> None:
        """Folds an event, after asking for it where a worker scores it."""
        event = self._decoder.event(record.value, -1 if record.timestamp is None else record.timestamp)
        if isinstance(event, Rejection):
            self.left_out[event.code] += 1
            return
        state = self._states.setdefault((record.partition, event.user_id), UserState())
        before = copied(state) if self._is_scored(event, record, state) else None
        if advance(state, (Stamped(record.offset, event),)) == [Outcome.DUPLICATE]:
            self.left_out[DUPLICATE] += 1
        elif before is not None:
            self._ask(before, record, event.user_id, event.item_id, event.event_type)

    def finish(self) -> None:
        """Makes the lists that are still waited for, one artifact after the other."""
        waiting, self._waiting, self._count = self._waiting, {}, 0
        popular: dict[str, list[str]] = {}
        asked: list[_Question] = []
        answering = {one.answered_by for questions in waiting.values() for one in questions if one.answered_by}
        for artifact in sorted({*waiting, *answering}):
            snapshot, questions = self._open(artifact), waiting.get(artifact, [])
            if snapshot is None:
                self.left_out[GONE] += len(questions)
                continue
            slots, seed = self._settings.recommend.new_slots, self._settings.recommend.seed
            serving = Serving(snapshot, self._catalogue, LivePopularity(), new_slots=slots, seed=seed)
            popular[artifact] = serving.popular(self._deepest)
            ranked = serving.recommend([one.query for one in questions])
            for one, listed in zip(questions, (found.item_ids for found in ranked), strict=True):
                if listed:
                    asked.append(one)
                    self.ranks.setdefault((artifact, one.event_type), []).append(rank_in(one.item_id, listed))
        self.popular_ranks += [rank_in(one.item_id, popular.get(one.answered_by or "", [])) for one in asked]

    def _is_scored(self, event: Event, record: ConsumerRecord, before: UserState) -> bool:
        """As a worker decides: of an event that shares its list with the one before, by lot."""
        if event.event_type not in self._scored.of_user(event.user_id.encode()):
            return False
        if before.events_applied == 0 or not self._lists.shared(
            record.partition, event.user_id, before.offset, record.offset
        ):
            return True
        return self._scored.in_burst(event.user_id.encode(), record.offset)

    def _ask(self, before: UserState, record: ConsumerRecord, user_id: str, item_id: str, event_type: str) -> None:
        if before.events_applied == 0:
            self.left_out[FIRST] += 1
            return
        try:
            artifact = self._lists.artifact(record.partition, user_id, before.offset)
        except UnknownListError as reason:
            self.left_out[str(reason)] += 1
            return
        try:
            answered_by = self._lists.artifact(record.partition, user_id, record.offset)
        except UnknownListError:
            answered_by = None
        question = _Question(self._queries.ask(before), item_id, event_type, answered_by)
        self._waiting.setdefault(artifact, []).append(question)
        self._count += 1
        if self._count == MOST_WAITING:
            self.finish()


async def served(settings: Settings, open_artifact: Open, cutoffs: Sequence[int]) -> dict[str, Any]:
    """The protocol's JSON over what stands in the topics now; items are taken as they are now.

    Raises KafkaError where a topic or the broker is missing.
    """
    kafka, decoder = settings.kafka, Decoder(settings.events)
    lists, catalogue = ServedLists(settings.digest()), Catalogue()
    async for records in read_topic(kafka, kafka.topic_prefix + RECOMMENDATIONS):
        for record in records:
            lists.take(record)
    async for records in read_topic(kafka, kafka.topic_prefix + ITEMS):
        for record in records:
            entry = decoder.catalogue_entry(record.key, record.value)
            if not isinstance(entry, Rejection):
                catalogue.apply(record.partition, record.offset, *entry)
    again = ServedAgain(settings, lists=lists, catalogue=catalogue, open_artifact=open_artifact, deepest=max(cutoffs))
    async for records in read_topic(kafka, kafka.topic_prefix + EVENTS):
        for record in records:
            again.event(record)
    again.finish()
    return summed_up(again, cutoffs)


def summed_up(again: ServedAgain, cutoffs: Sequence[int]) -> dict[str, Any]:
    """`mean` over all queries, `against` popularity; `by_artifact` has the live counters' own numbers.

    There, `events`, `hits` by cut-off and event type, and `reciprocal_rank_sum` within the largest cut-off.
    """
    ranks = {kind: np.array(found, np.int64) for kind, found in again.ranks.items()}
    everything = np.concatenate([np.zeros(0, np.int64), *ranks.values()])
    by_artifact: dict[str, Any] = {}
    for artifact in sorted({artifact for artifact, _ in ranks}):
        by_type = {kind: found for (maker, kind), found in sorted(ranks.items()) if maker == artifact}
        found = np.concatenate(list(by_type.values()))
        by_artifact[artifact] = {
            "queries": len(found),
            **scores(found, cutoffs),
            "events": {kind: len(values) for kind, values in by_type.items()},
            "hits": {
                str(k): {kind: int(hits_at(values, k).sum()) for kind, values in by_type.items()} for k in cutoffs
            },
            "reciprocal_rank_sum": float(reciprocal_ranks_at(found, max(cutoffs)).sum()),
        }
    return {
        "mean": scores(everything, cutoffs),
        "queries": len(everything),
        "against": {"popular": scores(np.array(again.popular_ranks, np.int64), cutoffs)},
        "by_artifact": by_artifact,
        "left_out": dict(again.left_out),
    }
