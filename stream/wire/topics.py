"""The topics: their names, how they are made, and whether existing ones fit. The one place that spells them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAlreadyExistsError, for_code

from stream.settings import KafkaSettings

DAY = 86_400_000
LISTED_TRIES, LISTED_PAUSE = 100, 0.1  # ten seconds
EVENTS, ITEMS, REQUESTS = "events", "items", "requests"
RECOMMENDATIONS, DEAD_LETTERS, ARTIFACTS, STATE = "recommendations", "dead-letters", "artifacts", "state"
DEAD_LETTER_BYTES = (
    8 << 20
)  # a dead letter is the bad message and its headers: larger than any message allowed elsewhere


@dataclass(frozen=True)
class TopicSpec:
    """How a topic must be. `partitions` None means the settings' partition count."""

    name: str
    cleanup: str
    partitions: int | None = None
    config: Mapping[str, str] = field(default_factory=dict)


COMPACTION_LAG = "min.compaction.lag.ms"
LEAST_COMPACTION_LAG = 600_000  # in which a partition's owner repairs a row that came behind a newer one
LISTS_COMPACTION_LAG = 3_600_000  # in which readers get to an answer before the next list of its key replaces it

# What we write ourselves is stamped by the broker: it refuses records of a clock that is an hour ahead, and retention
# would drop those of one that is days behind. Events and items keep the shop's time.
STAMPED = {"message.timestamp.type": "LogAppendTime"}

SPECS = (
    TopicSpec(EVENTS, "delete", config={"retention.ms": str(30 * DAY)}),
    TopicSpec(ITEMS, "compact"),
    TopicSpec(REQUESTS, "delete", config={"retention.ms": str(DAY), **STAMPED}),
    TopicSpec(
        RECOMMENDATIONS,
        "compact,delete",
        config={"retention.ms": str(7 * DAY), COMPACTION_LAG: str(LISTS_COMPACTION_LAG), **STAMPED},
    ),
    TopicSpec(
        DEAD_LETTERS,
        "delete",
        config={"retention.ms": str(30 * DAY), "max.message.bytes": str(DEAD_LETTER_BYTES), **STAMPED},
    ),
    TopicSpec(ARTIFACTS, "compact", partitions=1, config=STAMPED),
    TopicSpec(
        STATE,
        "compact",
        config={
            "min.cleanable.dirty.ratio": "0.2",
            "segment.ms": "3600000",
            COMPACTION_LAG: str(LEAST_COMPACTION_LAG),
            **STAMPED,
        },
    ),
)

COMPACTED_TOO_SOON = {
    STATE: "an old row of a worker that was taken for dead could replace a newer one for good",
    RECOMMENDATIONS: "the answer to a request could be gone before a slow reader has seen it, replaced by a later list",
}


class TopicsError(RuntimeError):
    """A topic is missing or does not fit. Operator action: do what the message says, usually `alluvium topics`."""


def changelog_name(kafka: KafkaSettings, group_id: str) -> str:
    """The topic behind Faust's table of user state; one per worker group."""
    return f"{kafka.topic_prefix}{group_id}-{STATE}-changelog"


def topic_names(kafka: KafkaSettings, group_id: str) -> dict[str, str]:
    """Each topic's full name by its short one."""
    names = {spec.name: kafka.topic_prefix + spec.name for spec in SPECS}
    names[STATE] = changelog_name(kafka, group_id)
    return names


async def create_topics(admin: AIOKafkaAdminClient, kafka: KafkaSettings, group_id: str) -> list[str]:
    """Creates the topics that are missing; returns their names. Existing ones are left as they are."""
    names = topic_names(kafka, group_id)
    existing = set(await admin.list_topics())
    missing = [spec for spec in SPECS if names[spec.name] not in existing]
    wanted = [
        NewTopic(
            names[spec.name],
            spec.partitions or kafka.partitions,
            kafka.replication_factor,
            topic_configs={"cleanup.policy": spec.cleanup, **spec.config},
        )
        for spec in missing
    ]
    if not wanted:
        return []
    created = []
    for topic, code, *_rest in (await admin.create_topics(wanted)).topic_errors:
        error = for_code(code)
        if not code:
            created.append(topic)
        elif error is not TopicAlreadyExistsError:  # somebody else was first: theirs is checked like any other
            raise TopicsError(f"could not create topic {topic}: {error.__name__} {error.description or ''}".rstrip())
    await _until_listed(admin, {names[spec.name] for spec in missing})
    return created


async def _until_listed(admin: AIOKafkaAdminClient, topics: set[str]) -> None:
    """A broker acknowledges a topic a moment before it tells of it."""
    for _ in range(LISTED_TRIES):
        if topics <= set(await admin.list_topics()):
            return
        await asyncio.sleep(LISTED_PAUSE)
    raise TopicsError(f"the broker does not tell of topics it has just made: {', '.join(sorted(topics))}")


async def topic_problems(admin: AIOKafkaAdminClient, kafka: KafkaSettings, group_id: str) -> list[str]:
    """What does not fit, a sentence each that says what to do; empty when all is well."""
    names = topic_names(kafka, group_id)
    existing = set(await admin.list_topics())
    present = [spec for spec in SPECS if names[spec.name] in existing]
    problems = [
        f"topic {names[spec.name]} is missing: run `alluvium topics`"
        for spec in SPECS
        if names[spec.name] not in existing
    ]
    described = await admin.describe_topics([names[spec.name] for spec in present]) if present else []
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    policies = await _cleanup_policies(admin, [names[spec.name] for spec in present])
    for spec in present:
        name = names[spec.name]
        wanted = spec.partitions or kafka.partitions
        if counts[name] != wanted:
            problems.append(
                f"topic {name} has {counts[name]} partitions, not {wanted}: set kafka.partitions to {counts[name]} if "
                f"all topics have that many; otherwise copy it to a topic of {wanted} partitions under a new "
                "kafka.topic_prefix (user state is stamped with offsets of its partition: the count is fixed for life)"
            )
        if set(policies[name].split(",")) != set(spec.cleanup.split(",")):
            problems.append(
                f"topic {name} has cleanup.policy={policies[name]}, not {spec.cleanup}: run `kafka-configs.sh --alter "
                f"--entity-type topics --entity-name {name} --add-config 'cleanup.policy=[{spec.cleanup}]'`"
            )
    return problems


async def topic_advice(admin: AIOKafkaAdminClient, kafka: KafkaSettings, group_id: str) -> list[str]:
    """What is well enough to start with, and should be set all the same: of topics made by an earlier release."""
    names = topic_names(kafka, group_id)
    specs = [spec for spec in SPECS if COMPACTION_LAG in spec.config]
    lags = await topic_config(admin, [names[spec.name] for spec in specs], COMPACTION_LAG, "0")
    return [
        f"topic {name} has {COMPACTION_LAG}={lags[name]}: {COMPACTED_TOO_SOON[spec.name]}; run `kafka-configs.sh "
        f"--alter --entity-type topics --entity-name {name} --add-config {COMPACTION_LAG}={least}`"
        for spec in specs
        if int(lags[name := names[spec.name]]) < int(least := spec.config[COMPACTION_LAG])
    ]


async def message_limit(admin: AIOKafkaAdminClient, topic: str) -> int:
    """How many bytes the broker takes in one batch for a topic."""
    limits = await topic_config(admin, [topic], "max.message.bytes", str(1 << 20))
    return int(limits[topic])


async def _cleanup_policies(admin: AIOKafkaAdminClient, topics: list[str]) -> dict[str, str]:
    return await topic_config(admin, topics, "cleanup.policy", "delete")


async def topic_config(admin: AIOKafkaAdminClient, topics: list[str], setting: str, default: str) -> dict[str, str]:
    """One setting of each topic, as the broker has it."""
    if not topics:
        return {}
    wanted = [ConfigResource(ConfigResourceType.TOPIC, topic, configs={setting: None}) for topic in topics]
    found: dict[str, str] = {}
    for response in await admin.describe_configs(wanted):
        for _code, _message, _kind, name, entries in (tuple(resource) for resource in response.resources):
            found[name] = next((entry[1] for entry in entries if entry[0] == setting), default)
    return found
