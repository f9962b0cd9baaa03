"""Asking the running system: a request on `requests`, its answer from `recommendations`; and reading user state."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.kafka import producer, read_topic, reader
from stream.logs import Log
from stream.settings import KafkaSettings, Settings
from stream.state.row import DamagedRowError, decode_state, is_older
from stream.state.user_state import UserState
from stream.wire.messages import Item, Recommendation, Request
from stream.wire.partitioner import PARTITIONERS, murmur2_partition
from stream.wire.times import to_iso
from stream.wire.topics import ITEMS, RECOMMENDATIONS, REQUESTS, changelog_name

log = Log("alluvium.state")


class NoAnswerError(RuntimeError):
    """No worker answered in time. Operator action: start `alluvium worker`, look at its /readyz."""


async def ask(settings: Settings, request: Request, timeout_seconds: float) -> Recommendation:
    """Sends a request and waits for its answer. Raises NoAnswerError, and KafkaError without a broker."""
    kafka = settings.kafka
    key = (request.user_id or request.request_id).encode()
    partition = (PARTITIONERS[kafka.partitioner] or murmur2_partition)(key, kafka.partitions)
    answers = TopicPartition(kafka.topic_prefix + RECOMMENDATIONS, partition)
    async with reader(kafka) as consumer, producer(kafka, linger_ms=0) as sender:
        consumer.assign([answers])
        await consumer.seek_to_end(answers)
        await sender.send_and_wait(
            kafka.topic_prefix + REQUESTS, msgspec.json.encode(request), key=key, partition=partition
        )
        try:
            async with asyncio.timeout(timeout_seconds):
                return await _answer(consumer, request.request_id)
        except TimeoutError:
            raise NoAnswerError(
                f"no worker answered within {timeout_seconds:g} s: is `alluvium worker` running and ready?"
            ) from None


async def read_states(settings: Settings, user_id: str | None) -> list[tuple[str, int, UserState]]:
    """(user, partition, state) of one user or of all, as the changelog has them now; sorted."""
    topic = changelog_name(settings.kafka, settings.worker.group_id)
    wanted = None if user_id is None else user_id.encode()
    rows: dict[tuple[bytes, int], bytes] = {}
    async for records in read_topic(settings.kafka, topic):
        for record in records:
            if record.key is None or wanted not in {None, record.key}:
                continue
            at = (record.key, record.partition)
            if record.value is None:
                rows.pop(at, None)
            elif at not in rows or not is_older(record.value, rows[at]):
                rows[at] = record.value
    states = []
    for (key, partition), row in sorted(rows.items()):
        user = key.decode(errors="replace")
        try:
            states.append((user, partition, decode_state(row)))
        except DamagedRowError as error:
            log.warning("user state is damaged", user=user, partition=partition, error=str(error))
    return states


async def read_titles(kafka: KafkaSettings, item_ids: Iterable[str]) -> dict[str, str]:
    """The titles that the catalogue has for these items."""
    wanted = {item_id.encode(): item_id for item_id in item_ids}
    newest: dict[str, bytes | None] = {}
    async for records in read_topic(kafka, kafka.topic_prefix + ITEMS):
        newest |= {wanted[record.key]: record.value for record in records if record.key in wanted}
    titles = {}
    for item_id, value in newest.items():
        if value is not None:
            try:
                titles[item_id] = msgspec.json.decode(value, type=Item).title or ""
            except msgspec.DecodeError:
                continue  # a bad message is the trainer's dead letter; it has no title to show
    return titles


def state_as_json(user_id: str, partition: int, state: UserState) -> dict[str, object]:
    """A user's state as `alluvium state` prints it."""
    history = zip(state.items, state.types, state.times, strict=True)
    return {
        "user_id": user_id,
        "partition": partition,
        "offset": state.offset,
        "events_applied": state.events_applied,
        "history": [
            {"item_id": item, "event_type": kind, "timestamp": to_iso(moment)} for item, kind, moment in history
        ],
        "last_recommendation_id": state.last_recommendation_id,
    }


async def _answer(consumer: AIOKafkaConsumer, request_id: str) -> Recommendation:
    while True:
        for records in (await consumer.getmany(timeout_ms=100)).values():
            for record in records:
                if request_id.encode() in (record.value or b""):
                    answer = msgspec.json.decode(record.value, type=Recommendation)
                    if answer.request_id == request_id:
                        return answer
