"""Topics on a real broker: made once, checked, and what is said where one does not fit; foreign clients' partitions."""

from __future__ import annotations

import msgspec
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from confluent_kafka import KafkaError as LibrdkafkaError
from confluent_kafka import Message, Producer

from stream.kafka import admin_client
from stream.settings import KafkaSettings
from stream.shop.broker import Broker
from stream.wire.partitioner import Partitioner, crc32_partition, murmur2_partition
from stream.wire.topics import SPECS, TopicsError, create_topics, topic_advice, topic_names, topic_problems

pytestmark = pytest.mark.kafka
GROUP = "workers"


@pytest.fixture
def kafka(kafka_broker: Broker, topic_prefix: str) -> KafkaSettings:
    return KafkaSettings(bootstrap_servers=kafka_broker.bootstrap_servers, topic_prefix=topic_prefix, partitions=3)


async def policy(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return {entry[0]: entry[1] for entry in response.resources[0][4]}


async def test_topics_are_made_as_the_contract_says_and_only_once(kafka: KafkaSettings) -> None:
    """All are made with their partitions and policies; a second run makes none, and finds nothing wrong."""
    names = topic_names(kafka, GROUP)
    async with admin_client(kafka) as admin:
        assert sorted(await create_topics(admin, kafka, GROUP)) == sorted(names.values())
        assert await create_topics(admin, kafka, GROUP) == []
        assert await topic_problems(admin, kafka, GROUP) == []
        counts = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics([*names.values()])}
        assert counts == {name: 1 if short == "artifacts" else 3 for short, name in names.items()}
        for spec in SPECS:
            config = await policy(admin, names[spec.name])
            assert set(config["cleanup.policy"].split(",")) == set(spec.cleanup.split(","))
            assert {key: config[key] for key in spec.config} == dict(spec.config)


@pytest.mark.parametrize(
    ("name", "cleanup", "lag"), [("state", "compact", 600_000), ("recommendations", "compact,delete", 3_600_000)]
)
async def test_a_topic_of_an_earlier_release_will_do_and_there_is_advice(
    kafka: KafkaSettings, name: str, cleanup: str, lag: int
) -> None:
    """Without the least compaction lag there is advice that says what to run, and no problem; a new one has it."""
    topic = topic_names(kafka, GROUP)[name]
    async with admin_client(kafka) as admin:
        await admin.create_topics([NewTopic(topic, 3, 1, topic_configs={"cleanup.policy": cleanup})])
        await create_topics(admin, kafka, GROUP)
        assert await topic_problems(admin, kafka, GROUP) == []
        (advice,) = await topic_advice(admin, kafka, GROUP)
        assert f"--entity-name {topic} --add-config min.compaction.lag.ms={lag}" in advice


async def test_there_is_no_advice_for_topics_just_made(kafka: KafkaSettings) -> None:
    """They are as they should be."""
    async with admin_client(kafka) as admin:
        await create_topics(admin, kafka, GROUP)
        assert await topic_advice(admin, kafka, GROUP) == []


async def test_what_is_missing_is_named(kafka: KafkaSettings) -> None:
    """Each missing topic in a line that says what to run."""
    async with admin_client(kafka) as admin:
        problems = await topic_problems(admin, kafka, GROUP)
    for name in topic_names(kafka, GROUP).values():
        assert f"topic {name} is missing: run `alluvium topics`" in problems


async def test_wrong_partitions_and_policies_are_named(kafka: KafkaSettings) -> None:
    """Existing topics are left as they are; each that does not fit is named with what to do."""
    names = topic_names(kafka, GROUP)
    async with admin_client(kafka) as admin:
        await admin.create_topics([
            NewTopic(names["events"], 5, 1, topic_configs={"cleanup.policy": "delete"}),
            NewTopic(names["items"], 3, 1, topic_configs={"cleanup.policy": "delete"}),
        ])  # fmt: skip
        made = await create_topics(admin, kafka, GROUP)
        assert names["events"] not in made
        assert names["items"] not in made
        partitions, cleanup = sorted(await topic_problems(admin, kafka, GROUP))
    assert f"topic {names['events']} has 5 partitions, not 3" in partitions
    assert "kafka.partitions" in partitions
    assert f"topic {names['items']} has cleanup.policy=delete, not compact" in cleanup
    assert "kafka-configs.sh" in cleanup


async def test_a_refusal_of_the_broker_is_said(kafka: KafkaSettings) -> None:
    """One node cannot hold three replicas: the error names a topic and the broker's reason."""
    async with admin_client(kafka) as admin:
        with pytest.raises(TopicsError, match="InvalidReplicationFactor"):
            await create_topics(admin, msgspec.structs.replace(kafka, replication_factor=3), GROUP)


@pytest.mark.parametrize(
    ("partitioner", "expected"),
    [("murmur2_random", murmur2_partition), ("consistent_random", crc32_partition)],
)
async def test_librdkafka_partitions_as_we_expect(
    kafka: KafkaSettings, partitioner: str, expected: Partitioner
) -> None:
    """Where librdkafka puts a key is where our partitioner of that name says."""
    topic = kafka.topic_prefix + "keyed"
    async with admin_client(kafka) as admin:
        await admin.create_topics([NewTopic(topic, 7, 1)])
    placed: dict[bytes, int] = {}

    def delivered(error: LibrdkafkaError | None, message: Message) -> None:
        assert error is None
        placed[message.key()] = message.partition()

    keys = ["u1", "u17", "ü", "用户", "a-little-bit-long-string", " ", *(f"user-{number}" for number in range(100))]
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "partitioner": partitioner})
    for key in keys:
        producer.produce(topic, key=key.encode(), value=b"", on_delivery=delivered)
    assert producer.flush(30) == 0
    assert placed == {key.encode(): expected(key.encode(), 7) for key in keys}
