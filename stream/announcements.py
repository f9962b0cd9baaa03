"""The `artifacts` topic: which artifact each channel serves. Of each channel its last record counts."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from stream.kafka import COMMITTED, Follower, read_topic
from stream.logs import Log
from stream.settings import KafkaSettings
from stream.wire.messages import ArtifactAnnouncement
from stream.wire.topics import ARTIFACTS

CHAMPION, CHALLENGER = "champion", "challenger"
REFRESH, PROMOTE, ROLLBACK, RESTART = "refresh", "promote", "rollback", "restart"  # reasons

_DECODER = msgspec.json.Decoder(ArtifactAnnouncement)


class Announcements:
    """What every channel serves, from the records of the topic in order; broken ones are logged and passed over."""

    def __init__(self, log: Log, changed: Callable[[str, ArtifactAnnouncement], None] | None = None) -> None:
        self.channels: dict[str, ArtifactAnnouncement] = {}
        self._log = log
        self._changed = changed

    @property
    def champion(self) -> ArtifactAnnouncement | None:
        """What serves, None before the first announcement."""
        return self.channels.get(CHAMPION)

    def apply(self, record: ConsumerRecord) -> None:
        """Takes one record of the topic."""
        channel = (record.key or b"").decode(errors="replace")
        if record.value is None:
            self.channels.pop(channel, None)
            return
        try:
            announcement = _DECODER.decode(record.value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._log.warning("broken announcement", offset=record.offset, error=str(error))
            return
        self.channels[channel] = announcement
        if self._changed is not None:
            self._changed(channel, announcement)


def follower(kafka: KafkaSettings, apply: Callable[[ConsumerRecord], None]) -> Follower:
    """Follows the topic; what a trainer announced when it was killed counts all or not at all."""
    return Follower(kafka, [kafka.topic_prefix + ARTIFACTS], apply, isolation=COMMITTED)


async def read_announcements(kafka: KafkaSettings, log: Log) -> list[tuple[str, ArtifactAnnouncement]]:
    """All announcements that the topic still holds, oldest first, with their channels."""
    found: list[tuple[str, ArtifactAnnouncement]] = []
    announcements = Announcements(log, lambda channel, announcement: found.append((channel, announcement)))
    async for records in read_topic(kafka, kafka.topic_prefix + ARTIFACTS, isolation=COMMITTED):
        for record in records:
            announcements.apply(record)
    return found


async def announce(
    client: AIOKafkaProducer, kafka: KafkaSettings, announcement: ArtifactAnnouncement, channel: str = CHAMPION
) -> None:
    """Makes an artifact the one that a channel serves; returns when Kafka has it."""
    await client.send_and_wait(kafka.topic_prefix + ARTIFACTS, msgspec.json.encode(announcement), key=channel.encode())


async def announced_now(kafka: KafkaSettings, log: Log) -> dict[str, ArtifactAnnouncement]:
    """What each channel serves now. Raises KafkaError where no broker answers."""
    return dict(await read_announcements(kafka, log))
