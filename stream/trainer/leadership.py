"""One trainer publishes: who leads is told by a consumer group, and who has led before is kept out by Kafka itself.

The group assigns the only partition of `artifacts` to one trainer, which leads; the others stand by. That says who
should publish. What makes it so is the transaction in which a leader announces: each new leader begins with the same
transactional id, and from that moment the broker refuses those before it, however late they wake up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import KafkaError

from stream.announcements import announce
from stream.failpoints import failpoint
from stream.kafka import client_options, producer
from stream.logs import Log
from stream.settings import KafkaSettings
from stream.wire.messages import ArtifactAnnouncement
from stream.wire.topics import ARTIFACTS

TRAINER = "trainer"  # behind the topic prefix: the consumer group, and the transactional id of whoever leads
LETTERS = "trainer-dead-letters"  # behind the topic prefix: the transactional id of dead letters
LEADS, BEGINNER = b"leads", b""
SEND_SECONDS = 120  # patience with a broker that restarts

log = Log("alluvium.trainer")


class LeadershipLostError(RuntimeError):
    """Another trainer leads, or may. Operator action: none; started again this one stands by, or leads."""


class Incumbent(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka is untyped to us
    """Leaves the partition with the member that has it; `is_member`: this one was not expelled meanwhile."""

    name = "alluvium-incumbent"
    version = 0

    def __init__(self, is_member: Callable[[], bool]) -> None:
        self._is_member = is_member
        self._leads = False

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What this member says of itself when it joins."""
        return ConsumerProtocolMemberMetadata(
            self.version, list(topics), LEADS if self._leads and self._is_member() else BEGINNER
        )

    def assign(
        self, _cluster: object, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """The partition to who leads, else to the first by name."""
        chosen = min(members, key=lambda member: (members[member].user_data != LEADS, member))
        topics = members[chosen].subscription
        return {
            member: ConsumerProtocolMemberAssignment(
                self.version, [(topic, [0]) for topic in topics] if member == chosen else [], b""
            )
            for member in members
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remembers what became of it."""
        self._leads = bool(assignment.partitions())


class Leadership(ConsumerRebalanceListener):  # type: ignore[misc]
    """This trainer's place among those of its topic prefix: `won` is set once it leads."""

    def __init__(self, kafka: KafkaSettings, session_seconds: float, standing_by: Callable[[], None]) -> None:
        self.won = asyncio.Event()
        self._lost = False
        self._kafka, self._session = kafka, round(1000 * session_seconds)
        self._standing_by = standing_by

    async def run(self) -> None:
        """Stays in the group until cancelled. Raises LeadershipLostError when it led and another one does now."""
        consumer = AIOKafkaConsumer(
            **client_options(self._kafka),
            group_id=self._kafka.topic_prefix + TRAINER,
            session_timeout_ms=self._session,
            heartbeat_interval_ms=min(3_000, self._session // 3),
            enable_auto_commit=False,
            auto_offset_reset="latest",
            partition_assignment_strategy=(Incumbent(lambda: bool(consumer._coordinator.member_id)),),
        )
        try:
            await consumer.start()
            consumer.subscribe([self._kafka.topic_prefix + ARTIFACTS], listener=self)
            while not self._lost:
                await consumer.getmany(timeout_ms=500)
        finally:
            await consumer.stop()
        raise LeadershipLostError("another trainer leads now: this one was not heard of for too long")

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Before each rebalance; what it comes to is known after it."""

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """After each rebalance."""
        if assigned:
            self.won.set()
        elif self.won.is_set():
            self._lost = True
        else:
            log.info("trainer stands by: another one leads", group=self._kafka.topic_prefix + TRAINER)
            self._standing_by()


class Announcer:
    """Announces as the leader, as long as nobody else has become it."""

    def __init__(self, client: AIOKafkaProducer, kafka: KafkaSettings) -> None:
        self._client, self._kafka = client, kafka

    async def announce(self, announcement: ArtifactAnnouncement) -> None:
        """Returns when Kafka has it. Raises LeadershipLostError where another trainer leads, or Kafka refuses."""
        try:
            async with self._client.transaction():
                await announce(self._client, self._kafka, announcement)
                failpoint("announce.commit")
        except KafkaError as error:  # what became of the transaction is known only to who begins the next one
            raise LeadershipLostError(f"artifact {announcement.artifact} cannot be announced: {error!r}") from error


@asynccontextmanager
async def announcer(kafka: KafkaSettings) -> AsyncIterator[Announcer]:
    """From now on no trainer that led before can announce. Raises KafkaError."""
    patience = dict.fromkeys(("request_timeout_ms", "transaction_timeout_ms"), SEND_SECONDS * 1000)
    async with producer(kafka, transactional_id=kafka.topic_prefix + TRAINER, linger_ms=0, **patience) as client:
        async with client.transaction():  # an empty one: whatever was begun before is aborted and its producer refused
            pass
        yield Announcer(client, kafka)
