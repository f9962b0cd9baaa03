"""The micro-batch: the one step of the worker, from records taken to records answered.

It has two halves, so that one micro-batch is made while the one before it is delivered; its dead letters are written
beside them, and nobody's list waits for a letter. An exception anywhere ends the process, and the supervisor starts it
anew from what is committed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence

from aiokafka import AIOKafkaProducer, TopicPartition

from stream.knowledge.serving import Query, RankedList, Serving
from stream.metrics import WorkerMetrics
from stream.queries import EventQueries
from stream.settings import Settings
from stream.state.row import encode_state
from stream.state.table import StateTable
from stream.wire.decoding import Decoder
from stream.wire.messages import EventPosition
from stream.wire.partitioner import PARTITIONERS
from stream.wire.times import to_iso
from stream.wire.topics import EVENTS, RECOMMENDATIONS, REQUESTS, changelog_name
from stream.worker.answers import Answers, Version
from stream.worker.batch import Chunk, RowOf, Served, Touched, decode, fold
from stream.worker.dead_letters import Letters
from stream.worker.knowledge import Knowledge
from stream.worker.measuring import Measuring
from stream.worker.outbox import Outbox
from stream.worker.prepared import Prepared, Rows
from stream.worker.requests import Replied, Requests

SLICE, SLICE_BEHIND = 64, 256  # lists made at once, paced and when behind
BEHIND = 512  # events of a micro-batch that say so
TURNS = 8  # of the loop between two slices: what a delivery under way needs to go on, from socket to waiter

Generation = Callable[[], int]
NO_ROWS: dict[bytes, bytes] = {}


class MicroBatch:
    """Does the step; everything it acts on is handed in."""

    def __init__(
        self,
        settings: Settings,
        *,
        table: StateTable,
        producer: AIOKafkaProducer,
        knowledge: Knowledge,
        letters: Letters,
        metrics: WorkerMetrics,
        generation: Generation,
    ) -> None:
        kafka, self._settings = settings.kafka, settings
        self._table, self._producer, self._knowledge, self._letters = table, producer, knowledge, letters
        self._generation = generation
        self._undelivered: Rows = {}
        self._decoder = Decoder(settings.events)
        self._events, self._requests_topic = kafka.topic_prefix + EVENTS, kafka.topic_prefix + REQUESTS
        self._recommendations = kafka.topic_prefix + RECOMMENDATIONS
        self._changelog = changelog_name(kafka, settings.worker.group_id)
        partitioner = PARTITIONERS[kafka.partitioner]
        self._queries, self._digest = EventQueries.of(settings), settings.digest()
        usual = self._queries
        self._requests = Requests(
            self._decoder, partitioner, kafka.partitions, self._events, filters=usual.filters, intent=usual.intent
        )
        self._measuring = Measuring(metrics, settings)

    async def prepare(self, chunks: Sequence[Chunk], generation: int, mend: Collection[int] = ()) -> Prepared:
        """The first half, for what was taken under a generation of the group.

        1. Take one version of all knowledge for the whole micro-batch.
        2. Decode each record; what cannot be read becomes a dead letter.
        3. Fold events into the states of their users; what stands at or below the stamp changes nothing.
        4. Recommend for every user touched and all who ask, gathering lists and rows; score the users' events.
        5. Gather the rest into the producer batches, one per topic and partition: replies, and rows that the changelog
           of these partitions, or of those to `mend`, has older ones behind.

        It may run while the micro-batch before it, of the same generation, is delivered: that one's rows count already.
        """
        measuring = self._measuring
        # 1. take
        serving = self._knowledge.serving
        answers = self._answers(serving)
        events = [chunk for chunk in chunks if chunk.topic == self._events]
        requests = [chunk for chunk in chunks if chunk.topic == self._requests_topic]
        # 2. decode
        with measuring.stage("decode"):
            decoded = decode(events, self._decoder)
        # 3. fold
        with measuring.stage("state"):
            touched = fold(decoded, self._row, measuring.scored)
        # 4. recommend
        asking = self._requests.ask(requests, serving, answers, self._row_after(touched if requests else ()))
        outbox = Outbox(self._producer, self._settings.kafka.compression)
        lists, wanted, rows = await self._recommend(touched, asking.queries(), serving, answers, outbox)
        scored = measuring.score(touched, await self._between(touched, serving), serving)
        replied = self._requests.reply(asking, wanted, answers)
        # 5. gather
        with measuring.stage("gather"):
            self._add_outdated(outbox, rows, {chunk.partition for chunk in chunks}.union(mend))
            self._add_replies(outbox, replied)
        return Prepared(generation, serving, outbox, rows, touched, lists, decoded.dead, replied, scored)

    async def deliver(self, prepared: Prepared) -> bool:
        """The second half, one micro-batch after the other; False if the generation has passed and nothing counts.

        6. Send, and await every delivery.
        7. Put the rows into the table and count.
        """
        self._undelivered = prepared.rows
        try:
            # 6. send
            if self._generation() != prepared.generation:
                return False
            with self._measuring.stage("emit"):
                delivered = await prepared.outbox.deliver()
            if self._generation() != prepared.generation:
                return False
            # 7. keep
            for partition, rows in prepared.rows.items():
                if self._generation() != prepared.generation:  # since the partition before
                    return False
                await self._table.put(partition, rows, delivered[TopicPartition(self._changelog, partition)].offset)
        finally:
            self._undelivered = {}
        if prepared.serving.snapshot is None:
            self._knowledge.observe([event for user in prepared.touched for event in user.applied])
        self._measuring.batch(prepared)
        return True

    async def write_letters(self, prepared: Prepared) -> None:
        """Beside the second half, in the order of the micro-batches: returns once its dead letters stand."""
        dead = [*prepared.dead, *prepared.replied.dead]
        if dead and self._generation() == prepared.generation:
            await self._letters.write(dead)
            self._measuring.dead(prepared)

    def _row(self, partition: int, user: bytes) -> bytes | None:
        """A user's row, of the micro-batch that is being delivered if it stands there."""
        row = self._undelivered.get(partition, NO_ROWS).get(user)
        return self._table.row(partition, user) if row is None else row

    def _answers(self, serving: Serving) -> Answers:
        snapshot = serving.snapshot
        version = Version(
            artifact=None if snapshot is None else snapshot.artifact_id,
            parent=None if snapshot is None else snapshot.parent,
            position=serving.catalogue_position,
            settings=self._digest,
            seed=self._settings.recommend.seed,
        )
        return Answers(version, to_iso(time.time_ns() // 1_000_000))

    async def _recommend(
        self, touched: Sequence[Touched], asked: list[Query], serving: Serving, answers: Answers, outbox: Outbox
    ) -> tuple[list[RankedList], list[RankedList], Rows]:
        """One list for each user touched, in slices: between them the loop sees to heartbeats and to new chunks.

        A slice's messages and rows are added to the outbox at once: the memory they took is still near for the next.
        And one for each query asked, made with the last slice where that is a short one: a call costs as much as two or
        three lists.
        """
        width = SLICE_BEHIND if sum(len(user.events) for user in touched) > BEHIND else SLICE
        common = self._common(touched, serving)
        lists: list[RankedList] = []
        wanted: list[RankedList] = []
        rows: Rows = {}
        for start in range(0, len(touched), width):
            users = touched[start : start + width]
            if common is not None:
                ranked = common * len(users)
            else:
                queries = [self._queries.ask(user.state) for user in users]
                if start + width >= len(touched) and len(users) + len(asked) <= SLICE:
                    queries += asked
                ranked = serving.recommend(queries, self._measuring.stage)
                ranked, wanted = ranked[: len(users)], ranked[len(users) :]
            with self._measuring.stage("gather"):
                self._add_lists(outbox, users, ranked, answers, rows)
            lists += ranked
            if start + width < len(touched):  # few have one slice only, and are waited for
                await _others_turns()
        return lists, wanted or serving.recommend(asked, self._measuring.stage), rows

    def _common(self, touched: Sequence[Touched], serving: Serving) -> list[RankedList] | None:
        """The list that all of them get, if histories count for nothing, as before the first artifact."""
        if not touched or serving.snapshot is not None or self._queries.filters.exclude_purchased is True:
            return None
        return serving.recommend([self._queries.ask(touched[0].state)])

    async def _between(self, touched: Sequence[Touched], serving: Serving) -> list[Served]:
        """The lists between the events of one user, which nobody is sent: they are made to score the next event."""
        states = [asked.state for user in touched for asked in user.asked if asked.state is not None]
        if not states:
            return []
        artifact = None if serving.snapshot is None else serving.snapshot.artifact_id
        made: list[Served] = []
        common = self._common(touched, serving)
        for start in range(0, len(states), SLICE_BEHIND):
            part = states[start : start + SLICE_BEHIND]
            with self._measuring.stage("score"):
                ranked = common * len(part) if common else serving.recommend([self._queries.ask(one) for one in part])
                made += [Served(artifact, one.item_ids) for one in ranked]
            await _others_turns()
        return made

    def _row_after(self, touched: Sequence[Touched]) -> RowOf:
        """Rows as they are after the events of this micro-batch, which come before its requests."""
        after = {(user.partition, user.key): user for user in touched}

        def row(partition: int, user: bytes) -> bytes | None:
            changed = after.get((partition, user))
            return self._row(partition, user) if changed is None else encode_state(changed.state)

        return row

    def _add_lists(
        self, outbox: Outbox, users: Sequence[Touched], lists: Sequence[RankedList], answers: Answers, rows: Rows
    ) -> None:
        """Adds the message of each user's list, and the row of each whose state has changed; puts that into `rows`."""
        messages: dict[int, list[tuple[bytes, bytes]]] = {}
        changed: dict[int, list[tuple[bytes, bytes]]] = {}
        for user, ranked in zip(users, lists, strict=True):
            key, partition, state = user.key, user.partition, user.state
            made = answers.for_user(user.user_id, state, EventPosition(self._events, partition, user.newest), ranked)
            messages.setdefault(partition, []).append((key, made.value))
            if user.applied:
                state.last_recommendation_id = made.recommendation_id
                state.last_artifact = made.artifact
                changed.setdefault(partition, []).append((key, encode_state(state, made.packed)))
        for partition, of_one in messages.items():
            outbox.add_all(self._recommendations, partition, of_one)
        for partition, of_one in changed.items():
            outbox.add_all(self._changelog, partition, of_one)
            rows.setdefault(partition, {}).update(of_one)

    def _add_outdated(self, outbox: Outbox, rows: Rows, partitions: Iterable[int]) -> None:
        """Writes rows once more that the changelog has an older one behind, so that it ends with the newest of each."""
        for partition, outdated in self._table.outdated(partitions).items():
            newer = rows.get(partition, NO_ROWS).keys() | self._undelivered.get(partition, NO_ROWS).keys()
            for key in outdated.keys() - newer:
                row = rows.setdefault(partition, {})[key] = outdated[key]
                outbox.add(self._changelog, partition, key, row)

    def _add_replies(self, outbox: Outbox, replied: Replied) -> None:
        for reply in replied.replies:
            outbox.add(self._recommendations, reply.partition, reply.key, reply.made.value)
        for partition, key, value, headers in replied.forwards:
            outbox.add(self._requests_topic, partition, key, value, headers)


async def _others_turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)
