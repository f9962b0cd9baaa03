"""A log from records of the topics."""

from __future__ import annotations

import pytest

from stream.evaluation.event_log import LogError
from stream.evaluation.log_topic import TopicLog
from stream.settings import Settings
from stream.wire.decoding import Decoder
from tests.records import event, record

AT = 1_795_435_200_000


@pytest.fixture
def taken() -> TopicLog:
    return TopicLog(Decoder(Settings().events))


def test_partitions_are_put_together_by_time(taken: TopicLog) -> None:
    """Each partition keeps its order where a clock steps back; types are canonical, times the events' own."""
    taken.event(record(0, event("u1", "a", "view"), partition=1, timestamp=AT + 30))
    taken.event(record(1, event("u1", "b", timestamp=AT - 5), partition=1, timestamp=AT + 10))
    taken.event(record(0, event("u2", "c", session_id="s"), partition=2, timestamp=AT + 20))
    taken.event(record(1, event("u2", "a", "buy"), partition=2, timestamp=AT + 40))
    log = taken.log()
    assert [log.user_ids[user] for user in log.users] == ["u2", "u1", "u1", "u2"]
    assert [log.item_ids[item] for item in log.items] == ["c", "a", "b", "a"]
    assert log.times.tolist() == [AT + 20, AT + 30, AT - 5, AT + 40]
    assert log.types.tolist() == [0, 0, 0, 2]
    assert log.sessions is not None
    assert log.sessions.tolist() == [0, -1, -1, -1]


def test_a_replayed_file_comes_back_in_its_own_order(taken: TopicLog) -> None:
    """Four events of years ago, sent within a second, partition after partition."""
    for partition in (0, 1):
        for offset in (0, 1):
            moment = 1_000_000_000_000 + 2 * offset + partition
            said = event("u", f"i{moment % 10}", timestamp=moment)
            taken.event(record(offset, said, partition=partition, timestamp=AT + 10 * partition))
    log = taken.log()
    assert [log.item_ids[item] for item in log.items] == ["i0", "i1", "i2", "i3"]


def test_a_clock_that_is_ahead_puts_nobody_behind(taken: TopicLog) -> None:
    """An event dated an hour ahead stands where it arrived; so do those that came after it."""
    taken.event(record(0, event("u1", "a", timestamp=AT + 3_600_000), partition=0, timestamp=AT))
    taken.event(record(0, event("u2", "b"), partition=1, timestamp=AT + 1_000))
    taken.event(record(1, event("u1", "c"), partition=0, timestamp=AT + 2_000))
    log = taken.log()
    assert [log.item_ids[item] for item in log.items] == ["a", "b", "c"]


def test_what_a_worker_would_not_apply_is_left_out(taken: TopicLog) -> None:
    """A producer's retry, broken JSON and an unknown type are counted, the rest is the log."""
    taken.event(record(0, event("u1", "a", event_id="e1")))
    taken.event(record(1, event("u1", "a", event_id="e1")))
    taken.event(record(2, b"{"))
    taken.event(record(3, event("u1", "a", "dance")))
    log = taken.log()
    assert len(log) == 1
    assert log.left_out == {"duplicate": 1, "not_json": 1, "unknown_event_type": 1}


def test_news_of_items_stand_where_they_were_heard(taken: TopicLog) -> None:
    """Before the first event, between the two, and after them; a tombstone retires."""
    taken.event(record(0, event("u1", "a"), timestamp=AT))
    taken.event(record(1, event("u1", "b"), timestamp=AT + 10))
    taken.item(record(0, {"item_id": "b", "title": "B"}, topic="items", timestamp=AT + 5))
    taken.item(record(1, None, key=b"a", topic="items", timestamp=AT + 20))
    taken.item(record(0, {"item_id": "a"}, topic="items", partition=1, timestamp=AT - 5))
    taken.item(record(1, b"[]", topic="items", partition=1, timestamp=AT - 5))
    log = taken.log()
    assert [(news.position, news.item_id, news.item is None) for news in log.news] == [
        (0, "a", False),
        (1, "b", False),
        (2, "a", True),
    ]
    assert log.left_out == {"wrong_type": 1}


def test_an_empty_topic_is_an_error(taken: TopicLog) -> None:
    """Nothing can be said of nothing."""
    with pytest.raises(LogError, match="no event"):
        taken.log()
