"""Requests: each gets a list or an error, or goes to where its user's state is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.structs import ConsumerRecord

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.popularity import LivePopularity
from stream.knowledge.serving import Query, RankedList, Serving, Stage, untimed
from stream.queries import event_filters
from stream.settings import EventSettings, Settings
from stream.state.row import encode_state
from stream.state.user_state import UserState
from stream.wire.decoding import Decoder
from stream.wire.messages import EventPosition
from stream.wire.partitioner import murmur2_partition
from stream.worker.answers import Answers, Version
from stream.worker.requests import REPLY_KEY, REPLY_PARTITION, Replied, Requests
from tests.answering import reply_to
from tests.made_lists import made_list
from tests.records import chunk, record

PARTITIONS = 4
HOME = murmur2_partition(b"u", PARTITIONS)
STRAYED = (murmur2_partition(b"v", PARTITIONS) + 1) % PARTITIONS
STATE = UserState(offset=12, items=["a"], types=["purchase"], times=[5], purchased=["a"])


def version(**changes: Any) -> Version:  # noqa: ANN401
    return Version(**({"artifact": "a1", "parent": None, "position": ((0, 3),), "settings": "s", "seed": 7} | changes))


def serving_of(*items: str) -> Serving:
    popularity = LivePopularity()
    popularity.observe(items)
    return Serving(None, Catalogue(), popularity)


def reply(value: object, key: bytes | None = b"u", partition: int = HOME, **more: Any) -> Replied:  # noqa: ANN401
    requests = Requests(Decoder(EventSettings()), murmur2_partition, PARTITIONS, "events")
    rows = {(HOME, b"u"): encode_state(STATE), (STRAYED, b"v"): encode_state(STATE)}
    asked = record(1, value, key, partition, "requests", **more)
    return reply_to(
        requests,
        [chunk(asked)],
        serving_of("a", "b", "c"),
        Answers(version(), "now"),
        lambda at, user: rows.get((at, user)),
    )


def message(replied: Replied) -> dict[str, Any]:
    (answer,) = replied.replies
    return dict(json.loads(answer.made.value))


def test_a_user_is_answered_from_their_state() -> None:
    """Provenance is the stamp, filters see what was bought, the answer goes back under the request's key."""
    replied = reply({"request_id": "r", "user_id": "u", "filters": {"exclude_purchased": True}}, b"k")
    answer = message(replied)
    assert [item["item_id"] for item in answer["items"]] == ["b", "c"]
    assert answer["provenance"]["event"] == {"topic": "events", "partition": HOME, "offset": 12}
    assert (replied.replies[0].key, replied.replies[0].partition) == (b"k", HOME)


class Asked(Serving):
    """Notes what lists are asked with."""

    queries: tuple[Query, ...] = ()

    def recommend(self, queries: Sequence[Query], stage: Stage = untimed) -> list[RankedList]:
        self.queries = (*self.queries, *queries)
        return super().recommend(queries, stage)


@pytest.mark.parametrize(
    ("said", "expected"), [({}, "cart"), ({"intent": "buy"}, "purchase"), ({"intent": None}, "cart")]
)
def test_lists_are_for_the_intent_of_the_request_or_of_the_settings(said: dict[str, str], expected: str) -> None:
    """By any of its names, for users and for sessions."""
    serving = Asked(None, Catalogue(), LivePopularity())
    requests = Requests(Decoder(EventSettings()), murmur2_partition, PARTITIONS, "events", intent="cart")
    answers = Answers(version(), "now")
    for fields in ({"user_id": "u"}, {"kind": "session", "history": []}):
        asked = record(1, {"request_id": "r", **fields, **said}, b"u", HOME, "requests")
        reply_to(requests, [chunk(asked)], serving, answers, lambda _at, _user: encode_state(STATE))
    assert [query.intent for query in serving.queries] == [expected, expected]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, "auto"),
        ({"exclude_purchased": False}, False),
        ({"exclude_purchased": True}, True),
        ({"tags": ["x"]}, "auto"),
    ],
)
def test_what_was_bought_is_left_out_as_the_settings_say_or_the_request(
    filters: dict[str, object], expected: object
) -> None:
    """The filter of a request that says nothing of it follows `recommend.exclude_purchased`."""
    serving = Asked(None, Catalogue(), LivePopularity())
    usual = event_filters(Settings())
    requests = Requests(Decoder(EventSettings()), murmur2_partition, PARTITIONS, "events", filters=usual)
    asked = record(1, {"request_id": "r", "user_id": "u", "filters": filters}, b"u", HOME, "requests")
    reply_to(requests, [chunk(asked)], serving, Answers(version(), "now"), lambda _at, _user: encode_state(STATE))
    assert [query.filters.exclude_purchased for query in serving.queries] == [expected]


def test_a_request_elsewhere_is_forwarded_once() -> None:
    """To the user's partition, with the awaited key and partition; once forwarded it is answered wherever it is."""
    away = (HOME + 1) % PARTITIONS
    (forward,) = reply({"request_id": "r", "user_id": "u"}, b"k", away).forwards
    assert (forward.partition, forward.key) == (HOME, b"u")
    assert dict(forward.headers) == {REPLY_KEY: b"k", REPLY_PARTITION: str(away).encode()}

    arrived = reply(forward.value, forward.key, HOME, headers=tuple(forward.headers))
    assert (arrived.replies[0].key, arrived.replies[0].partition) == (b"k", away)
    stray = reply(forward.value, forward.key, away, headers=tuple(forward.headers))
    assert not stray.forwards
    assert message(stray)["fallback"] == "unknown_user"


def test_a_client_with_another_partitioner_is_answered_where_the_state_is() -> None:
    """Events and requests of this user stand on one partition, though not the one our partitioner names."""
    replied = reply({"request_id": "r", "user_id": "v"}, b"v", STRAYED)
    assert not replied.forwards
    assert message(replied)["provenance"]["event"]["offset"] == STATE.offset
    assert message(replied)["fallback"] != "unknown_user"


def test_requests_of_a_micro_batch_are_answered_in_order_as_each_alone() -> None:
    """Their lists are made together: kinds, filters, errors and forwards between them mix nothing up."""
    asked = [
        ({"request_id": "r1", "user_id": "u"}, b"u"),
        ({"request_id": "r2", "kind": "search", "query": "q"}, b"k"),
        ({"request_id": "r3", "kind": "item", "item_id": "b"}, b"k"),
        ({"request_id": "r4", "user_id": "v"}, b"v"),
        ({"request_id": "r5", "kind": "session", "history": []}, b"k"),
        ({"request_id": "r6", "user_id": "u", "count": 1, "filters": {"exclude_items": ["a"]}}, b"u"),
    ]
    records = [record(1 + at, value, key, HOME, "requests") for at, (value, key) in enumerate(asked)]
    requests = Requests(Decoder(EventSettings()), murmur2_partition, PARTITIONS, "events")
    rows = {(HOME, b"u"): encode_state(STATE)}

    def replies(*some: ConsumerRecord) -> Replied:
        answers = Answers(version(), "now")
        return reply_to(
            requests, [chunk(*some)], serving_of("a", "b", "c"), answers, lambda at, user: rows.get((at, user))
        )

    together = replies(*records)
    alone = [replies(one) for one in records]
    assert together.replies == [answer for one in alone for answer in one.replies]
    assert [json.loads(answer.made.value)["request_id"] for answer in together.replies] == [
        "r1",
        "r2",
        "r3",
        "r5",
        "r6",
    ]
    assert len(together.forwards) == 1


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"request_id": "r", "kind": "search", "query": "q"}, "search_not_available"),
        ({"request_id": "r", "kind": "session", "history": [{"user_id": "", "item_id": "a", "event_type": "click"}]},
         "missing_field"),
        ({"request_id": "r", "kind": "item"}, "missing_field"),
        ({"request_id": "r", "kind": "teleport"}, "wrong_type"),
        ({"request_id": "r", "user_id": "u", "count": 0}, "out_of_range"),
        ({"request_id": "r", "user_id": "u", "intent": "remove"}, "unknown_intent"),
        ({"request_id": "r", "user_id": "u", "intent": "marry"}, "unknown_intent"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_gets_an_error(request_: dict[str, object], code: str) -> None:
    """An empty list with the code; only what could not be decoded is a dead letter as well."""
    replied = reply(request_)
    assert (message(replied)["items"], message(replied)["error"]["code"]) == ([], code)
    assert bool(replied.dead) == (code not in {"search_not_available"} and request_.get("history") is None)
    assert replied.replies[0].kind in {"user", "item", "session", "search", "unknown"}


@pytest.mark.parametrize("value", [b"\xff", b"[]", b'{"user_id": "u"}', None])
def test_without_a_request_id_only_a_dead_letter_can_be_written(value: bytes | None) -> None:
    """Nobody can be answered, and it is not dropped."""
    replied = reply(value)
    assert not replied.replies
    assert len(replied.dead) == 1


def test_a_key_too_long_to_answer_under_is_a_dead_letter() -> None:
    """Kafka could not take an answer with such a key."""
    replied = reply({"request_id": "r", "user_id": "u"}, b"k" * 100_000)
    assert not replied.replies
    assert replied.dead[0].rejection.code == "too_large"


def test_a_session_is_asked_at_the_time_of_its_last_event() -> None:
    """And without history at the time of the request's record."""
    view = {"user_id": "?", "item_id": "a", "event_type": "view", "timestamp": 86_400_000 * 365 * 25}
    seen = message(reply({"request_id": "r", "kind": "session", "history": [view]}))
    assert seen["event_timestamp"].startswith("1994")
    empty = message(reply({"request_id": "r", "kind": "session", "history": []}, timestamp=0))
    assert (empty["event_timestamp"], len(empty["items"])) == ("1970-01-01T00:00:00.000Z", 3)


def test_an_id_changes_with_all_that_a_list_is_made_from() -> None:
    """User, stamp, artifact, catalogue, settings and seed each make another id; the wall clock does not."""
    ranked = serving_of("a", "b").popular(2)
    lists = serving_of("a", "b").similar("x", 2)
    seen = EventPosition("events", 0, 5)

    def identity(user: str = "u", offset: int = 5, clock: str = "now", **changes: object) -> str:
        state = UserState(offset=offset, times=[1])
        return Answers(version(**changes), clock).for_user(user, state, seen, lists).recommendation_id

    changed = [
        identity("v"), identity(offset=6), identity(artifact="a2"), identity(artifact=None),
        identity(position=((0, 4),)), identity(settings="t"), identity(seed=8),
    ]  # fmt: skip
    assert len({identity(), *changed}) == len(changed) + 1
    assert identity(clock="later") == identity()
    assert ranked == ["a", "b"]


@pytest.mark.parametrize("said", [b"4", b"999", b"9" * 5_000, b"-1", b"", b"one", b"\xff"])
def test_an_answer_goes_to_a_partition_that_exists(said: bytes) -> None:
    """Whatever a stranger writes into our headers: there is none of that number, so it is the request's own."""
    replied = reply({"request_id": "r", "user_id": "u"}, headers=((REPLY_KEY, b"k"), (REPLY_PARTITION, said)))
    assert (replied.replies[0].key, replied.replies[0].partition) == (b"k", HOME)


@pytest.mark.parametrize("value", [{"request_id": "r", "user_id": "u"}, {"request_id": "r", "user_id": 1}])
def test_a_key_in_our_header_can_be_too_long_as_well(value: object) -> None:
    replied = reply(value, headers=((REPLY_KEY, b"k" * 100_000),))
    assert not replied.replies
    assert replied.dead[0].rejection.code == "too_large"


def test_a_request_too_large_to_name_is_only_a_dead_letter() -> None:
    """Its answer would repeat an id that Kafka could not take; one that it can take is told what is wrong."""
    assert not reply({"request_id": "r" * 1_000_000, "user_id": "u"}).replies
    told = message(reply({"request_id": "r" * 1_000, "user_id": "u" * 100_000}))
    assert (told["request_id"], told["error"]["code"]) == ("r" * 1_000, "too_large")


def test_an_answer_that_kafka_would_not_take_is_an_error() -> None:
    """Ids of control characters take six bytes each, and reasons name them again."""
    odd = ["\x01" * 508 + f"{number:04}" for number in range(400)]
    requests = Requests(Decoder(EventSettings()), murmur2_partition, PARTITIONS, "events")
    serving = Explaining(odd)
    asked = record(1, {"request_id": "r", "user_id": "u", "count": 200}, b"u", HOME, "requests")
    replied = reply_to(requests, [chunk(asked)], serving, Answers(version(), "now"), lambda _at, _user: None)
    assert message(replied)["error"]["code"] == "too_large"
    assert len(replied.replies[0].made.value) < 1_000


class Explaining(Serving):
    """Answers with items whose reasons are items."""

    def __init__(self, items: list[str]) -> None:
        super().__init__(None, Catalogue(), LivePopularity())
        self._odd = items

    def recommend(self, queries: Sequence[Query], stage: Stage = untimed) -> list[RankedList]:
        count = len(self._odd)
        return [made_list(self._odd, [0.5] * count, [("ann",)] * count, because=[self._odd[:1]] * count)]


@pytest.mark.parametrize(
    "kind", [{"user_id": "u"}, {"kind": "item", "item_id": "a"}, {"kind": "session", "history": []}]
)
@pytest.mark.parametrize("timestamp", [-1, 0, 253_402_300_799_999, 253_402_300_800_000, 2**63 - 1])
def test_a_record_may_be_of_any_time(kind: dict[str, object], timestamp: int) -> None:
    """Producers write what they like there: a list is made, at a time that can be written."""
    answer = message(reply({"request_id": "r", **kind}, timestamp=timestamp))
    assert answer["items"]
