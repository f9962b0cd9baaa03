"""A replay that goes on where an earlier run of it stopped."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from stream.kafka import producer, read_topic, topic_end
from stream.logs import Log
from stream.settings import KafkaSettings, Settings
from stream.shop.delivery import BATCH_BYTES, Delivery, cluster_with_topics
from stream.shop.log_file import Plan, Rejects, Status, newest_of, read_log
from stream.shop.progress import FOLDER, Progress, load, progress_file, save
from stream.shop.replay import Replay
from stream.wire.decoding import Decoder
from stream.wire.topics import EVENTS

SAVE_SECONDS = 0.2
log = Log("alluvium.shop")


async def replay(
    plan: Plan,
    settings: Settings,
    *,
    reading: str,
    restart: bool = False,
    rejects_file: Path | None = None,
    folder: Path = FOLDER,
    report: Callable[[Status], None] = lambda _status: None,
) -> tuple[Status, Rejects]:
    """Sends what no earlier run has sent. `reading` says how the file is read (data set or columns).

    Progress is kept in `folder` by file, topic, cluster and `reading`; a topic that holds less than was once sent has
    been made anew, and so the replay begins anew. What a killed run has sent without taking note of it is found in the
    topic, by event id. Raises KafkaError, TopicsError, and ValueError for a changed file.
    """
    topic = settings.kafka.topic_prefix + EVENTS
    begun = Progress(
        file=str(plan.file.path.resolve()),
        bytes=plan.file.bytes,
        topic=topic,
        cluster=await cluster_with_topics(settings.kafka),
        reading=reading,
    )
    path = progress_file(begun, folder)
    progress = begun if restart else load(path, begun)
    if progress.acknowledged > await topic_end(settings.kafka, topic):
        log.warning("the topic holds less than was sent, beginning anew", topic=topic, sent=progress.acknowledged)
        progress = begun
    if plan.shift_to_now and plan.speed is None and not progress.shift_ms:
        progress.shift_ms = int(time.time() * 1000) - _newest(plan, settings)
    standing = await _standing(settings.kafka, topic, progress.since_ms)
    progress.since_ms = progress.since_ms or int(time.time() * 1000)
    rejects = Rejects(rejects_file or path.with_suffix(".rejects.jsonl"))
    saver = _Saver(path, progress)
    saver.save()
    try:
        async with producer(settings.kafka, max_batch_size=BATCH_BYTES, linger_ms=0) as client:
            run = Replay(
                plan,
                settings,
                rejects,
                acknowledged=progress.acknowledged,
                standing=standing,
                shift_ms=progress.shift_ms,
                report=report,
                save=saver.reached,
            )
            status = await run.run(Delivery(client, settings.kafka))
        progress.complete = plan.limit is None
    finally:
        saver.save()
        rejects.close()
    return status, rejects


class _Saver:
    def __init__(self, path: Path, progress: Progress) -> None:
        self._path, self._progress = path, progress
        self._saved = time.monotonic()

    def reached(self, position: int, since_ms: int) -> None:
        self._progress.acknowledged, self._progress.since_ms = position, since_ms
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()

    def save(self) -> None:
        save(self._path, self._progress)
        self._saved = time.monotonic()


async def _standing(kafka: KafkaSettings, topic: str, since_ms: int) -> frozenset[str]:
    """The event ids in the topic since then: a replay that was killed may have sent more than it took note of."""
    if not since_ms:
        return frozenset()
    found: set[str] = set()
    decoder = msgspec.json.Decoder(_Identified)
    async for records in read_topic(kafka, topic, since_ms):
        for record in records:
            with suppress(msgspec.DecodeError, UnicodeDecodeError):  # somebody else's bad event
                found.add(decoder.decode(record.value or b"").event_id)
    return frozenset(found)


class _Identified(msgspec.Struct):
    event_id: str = ""


def _newest(plan: Plan, settings: Settings) -> int:
    nowhere = Rejects(Path(os.devnull))
    lots = read_log(plan, Decoder(settings.events), nowhere, Status(), int(time.time() * 1000))
    newest = max(map(newest_of, lots), default=0)
    nowhere.close()
    return newest
