"""All settings: one TOML file, each key also an environment variable `ALLUVIUM_SECTION__KEY`. Unknown keys are errors.

The reader takes the environment as an argument; only the command line passes the real one.
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

import indexing.sources
from stream.passwords import SECRETS, read_passwords
from stream.ranges import problem_with
from stream.wire.event_types import DEFAULT_EVENT_TYPES, EventType, EventTypes

DEFAULT_FILE = Path("alluvium.toml")
ENVIRONMENT_PREFIX = "ALLUVIUM_"


class SettingsError(ValueError):
    """A setting is unknown or of the wrong kind. Operator action: correct the key that the message names."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all sections: immutable, no unknown keys."""


class KafkaSettings(Section, frozen=True):
    """Where Kafka is and how to talk to it."""

    bootstrap_servers: str = "127.0.0.1:9092"
    topic_prefix: str = "alluvium."
    partitions: int = 8  # fixed for life: user state is stamped with offsets of its partition
    replication_factor: int = 1
    partitioner: Literal["murmur2", "crc32", "any"] = "murmur2"
    compression: Literal["none", "snappy", "zstd", "lz4", "gzip"] = "none"  # of what Alluvium writes
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str = ""
    sasl_password: str = ""
    sasl_password_file: str = ""  # read into sasl_password
    ssl_cafile: str = ""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    ssl_key_password: str = ""
    ssl_key_password_file: str = ""  # read into ssl_key_password


class EventSettings(Section, frozen=True):
    """What counts as a valid event."""

    types: tuple[EventType, ...] = DEFAULT_EVENT_TYPES
    max_bytes: int = 65_536  # of a whole message
    max_id_bytes: int = 512  # of a user, item, event or session id in UTF-8
    earliest: str = "1990-01-01T00:00:00Z"
    latest: str = "2100-01-01T00:00:00Z"
    max_ahead_seconds: float = 86_400.0  # an event may be this much newer than its Kafka record


class WorkerSettings(Section, frozen=True):
    """The process that answers events and requests."""

    group_id: str = "alluvium-worker"
    http_host: str = "127.0.0.1"
    http_port: int = 6066
    session_timeout_seconds: float = 10.0
    startup_seconds: float = 120.0  # without assigned and recovered partitions for this long, the process ends
    allow_other_faust: bool = False  # run with a release of Faust that the worker was not tested with
    scored_users: float = 1.0  # share of users whose events are scored
    scored_bursts: float = 1.0  # share of events scored whose list before was sent to nobody; each costs a list


class RecommendSettings(Section, frozen=True):
    """What a list looks like."""

    count: int = 20  # items in the list for an event
    seed: int = 7
    intent: str = ""  # the event type that lists are for; empty: the first that has been learned of
    exclude_purchased: bool | Literal["auto"] = "auto"  # from lists; auto: only what is rarely bought twice
    new_slots: int = 2  # of the first ten places of a list that are kept for new and untouched items, drawn by lot


class TrainerSettings(Section, frozen=True):
    """The process that learns and publishes artifacts."""

    refresh_seconds: float = 60.0
    http_host: str = "127.0.0.1"
    http_port: int = 6067
    session_timeout_seconds: float = 10.0  # a trainer that was not heard of for so long leads no more
    window_events: int = 2_000_000
    min_events: int = 100  # fewer events than this make no first artifact
    threads: int = 2
    niceness: int = 10  # on a small machine, answering goes before learning
    seed: int = 7


class ArtifactSettings(Section, frozen=True):
    """Where knowledge artifacts settle."""

    url: str = "artifacts"
    cache_dir: str = ".alluvium/cache"  # local copies of artifacts of a remote store
    keep: int = 10  # the newest ones; whatever is announced is always kept


class BrokerSettings(Section, frozen=True):
    """The embedded Apache Kafka of `alluvium broker`."""

    port: int = 9092
    data_dir: str = ".alluvium/kafka"
    heap: str = "512m"


class ModelSettings(Section, frozen=True):
    """What is learned and how."""

    sources: tuple[str, ...] = (
        "sessions",
        "covisitation",
        "content",
        "conversions",
    )  # modules of indexing.sources
    dimensions: int = 64  # of user and item vectors; a parent of another size is not a parent
    heads: int = 2
    length: int = 50  # the newest events of a history that the encoder looks at
    inner: int = 128  # width of the encoder's feed-forward layer
    dropout: float = 0.1
    id_dropout: float = 0.1  # share of training in which an item with content is shown without its own embedding
    token_buckets: int = 16_384  # that words of titles, categories and brands are hashed to
    gate_halfway: float = 3.0  # events after which an item is half its own embedding, half its content
    temperature: float = 0.1  # logits are cosine / temperature
    negatives: int = 1_024  # shared by all targets of a batch
    negatives_power: float = 0.5  # a negative is drawn as often as count ** power
    batch_events: int = 1_024  # inputs of one training step, padding included
    learning_rate: float = 0.003  # of the encoder
    row_learning_rate: float = 0.05  # of item, token and price embeddings
    first_epochs: int = 32  # the most passes over the window, when there is no parent; fewer where they stop helping
    first_visits: int = 4_000_000  # events learned from then, passes counted, after which no further pass is begun
    epochs: int = 3  # the most passes over the new events and their replay, at every later refresh that is not short
    short_refresh: float = 0.1  # share of the window: fewer new events are gone over once, at short_rate
    short_rate: float = 0.3  # share of both learning rates then: little news must not shake what was learned
    visits: int = 800_000  # as first_visits, of a refresh with a parent
    replay: float = 1.0  # old events learned again for each new one
    replay_half_life: float = 0.25  # share of the window after which an old session is replayed half as often
    most_of_one_user: int = (
        1_000  # newest events of one user that are learned from; nobody makes the lists of all others
    )
    held_out: float = 0.1  # newest share of the new events that judges the refresh and is not trained on
    held_out_most: int = 2_000  # queries for that
    ranker_queries: int = 20_000  # the most new events that the ranker learns from, by the parent's candidates
    ranker_epochs: int = 5
    ranker_learning_rate: float = 0.005
    tolerance: float = 0.01  # Recall@20 and MRR@20 may be this much below the parent's, beside the sampling error
    index_tolerance: float = 0.002  # Recall@20 that the index may cost against an exact search
    flat_below: int = 5_000  # items; smaller catalogues are searched exactly


class LogSettings(Section, frozen=True):
    """What the processes say on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class Settings(Section, frozen=True):
    """Everything that can be set."""

    kafka: KafkaSettings = KafkaSettings()
    events: EventSettings = EventSettings()
    worker: WorkerSettings = WorkerSettings()
    recommend: RecommendSettings = RecommendSettings()
    trainer: TrainerSettings = TrainerSettings()
    artifacts: ArtifactSettings = ArtifactSettings()
    broker: BrokerSettings = BrokerSettings()
    model: ModelSettings = ModelSettings()
    log: LogSettings = LogSettings()

    def event_types(self) -> EventTypes:
        """The event-type table, ready to look up."""
        return EventTypes(self.events.types)

    def intent(self) -> str | None:
        """The canonical event type that lists are for unless a request says otherwise; None: the first learned of.

        Raises ValueError for a type of no positive weight: nobody wants more of it.
        """
        name, types = self.recommend.intent, self.event_types()
        if name and types.wanted(name) is None:
            raise ValueError(f"recommend.intent {name!r} is no event type of positive weight, nor an alias of one")
        return types.wanted(name)

    def digest(self) -> str:
        """`sha256:…` over the settings that lists depend on: what two workers must share to answer alike."""
        relevant = msgspec.json.encode({"events": self.events, "recommend": self.recommend}, order="sorted")
        return "sha256:" + hashlib.sha256(relevant).hexdigest()


def read_settings(file: Path | None, environment: Mapping[str, str]) -> Settings:
    """Settings from a TOML file and the environment, which wins. Raises SettingsError, naming the nearest known key."""
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = tomllib.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            raise SettingsError(f"settings file {file} does not exist") from None
        except OSError as error:
            raise SettingsError(f"settings file {file} cannot be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{file} is not valid TOML: {error}") from None
    _check_names(values, str(file))
    _merge_environment(values, environment)
    try:
        read_passwords(values.get("kafka", {}))
        settings = msgspec.convert(values, Settings, strict=False)
        settings.intent()
        indexing.sources.check(settings.model.sources)
    except (msgspec.ValidationError, ValueError) as error:
        raise SettingsError(f"settings: {error}") from None
    wrong = problem_with(settings)
    if wrong is not None:
        raise SettingsError(f"settings: {wrong}")
    return settings


def section_types() -> dict[str, type[Section]]:
    """Each section's name and struct."""
    return {field.name: field.type for field in msgspec.structs.fields(Settings)}


def setting_names() -> list[tuple[str, str]]:
    """Section and key of every setting."""
    return [(name, key) for name, section in section_types().items() for key in section.__struct_fields__]


def redacted(settings: Settings) -> dict[str, Any]:
    """Plain values for showing, with secrets replaced."""
    shown: dict[str, Any] = msgspec.to_builtins(settings)
    for section in shown.values():
        for key in SECRETS & section.keys():
            section[key] = "********" if section[key] else ""
    return shown


def _nearest(name: str, known: list[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else f"; known: {', '.join(known)}"


def _check_names(values: Mapping[str, Any], source: str) -> None:
    sections = section_types()
    for section, keys in values.items():
        if section not in sections:
            raise SettingsError(f"{source}: unknown section [{section}]{_nearest(section, list(sections))}")
        if not isinstance(keys, Mapping):
            raise SettingsError(f"{source}: {section} must be a section: [{section}]")
        known = [field.name for field in msgspec.structs.fields(sections[section])]
        for key in keys:
            if key not in known:
                raise SettingsError(f"{source}: unknown setting {section}.{key}{_nearest(key, known)}")


def _merge_environment(values: dict[str, Any], environment: Mapping[str, str]) -> None:
    sections = section_types()
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        section, separator, key = variable.removeprefix(ENVIRONMENT_PREFIX).lower().partition("__")
        if not separator:
            known = [f"{ENVIRONMENT_PREFIX}{name}__{key}".upper() for name, key in setting_names()]
            raise SettingsError(f"environment variable {variable} is no setting{_nearest(variable, known)}")
        _check_names({section: {key: text}}, f"environment variable {variable}")
        kinds = {field.name: field.type for field in msgspec.structs.fields(sections[section])}
        listed = "tuple" in str(kinds[key])
        values.setdefault(section, {})[key] = _listed(variable, text) if listed else text


def _listed(variable: str, text: str) -> Any:  # noqa: ANN401 - msgspec checks its type later
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise SettingsError(f"environment variable {variable} must be a JSON list: {error}") from None
