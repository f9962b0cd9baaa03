"""Announcing an artifact by hand: promote one of the store, or roll back to the one before."""

from __future__ import annotations

from stream.announcements import CHAMPION, announce, announced_now
from stream.kafka import producer
from stream.knowledge.manifest import ArtifactError
from stream.knowledge.store import ArtifactStore
from stream.logs import Log
from stream.settings import KafkaSettings
from stream.wire.messages import ArtifactAnnouncement
from stream.wire.times import to_iso


class NothingToRollBackToError(RuntimeError):
    """No artifact served before the present one. Operator action: `alluvium artifacts promote ID` with another one."""


async def promote(
    kafka: KafkaSettings, store: ArtifactStore, artifact: str, *, now: int, reason: str, channel: str = CHAMPION
) -> ArtifactAnnouncement:
    """Verifies an artifact and makes it the one that a channel serves. Raises ArtifactError where it is bad."""
    manifest_sha256 = store.manifest_sha256(artifact)
    problems = store.verify(artifact, manifest_sha256)
    if problems:
        raise ArtifactError(f"not announced: {'; '.join(problems)}")
    parent = store.manifest(artifact, manifest_sha256).parent
    announcement = ArtifactAnnouncement(artifact, parent, store.place(artifact), manifest_sha256, to_iso(now), reason)
    async with producer(kafka, linger_ms=0) as client:
        await announce(client, kafka, announcement, channel)
    return announcement


async def roll_back(
    kafka: KafkaSettings, store: ArtifactStore, log: Log, *, now: int, reason: str, channel: str = CHAMPION
) -> ArtifactAnnouncement:
    """Makes the parent of what a channel serves the one that it serves. Raises NothingToRollBackToError."""
    serving = (await announced_now(kafka, log)).get(channel)
    if serving is None:
        raise NothingToRollBackToError(f"nothing has been announced as {channel}")
    if serving.parent is None:
        raise NothingToRollBackToError(f"artifact {serving.artifact} is the first one, it has no parent")
    return await promote(kafka, store, serving.parent, now=now, reason=reason, channel=channel)
