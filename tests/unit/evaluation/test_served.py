"""Which artifact answered which event, and what is asked again of it."""

from __future__ import annotations

import pytest

from stream.evaluation.served import ServedAgain, summed_up
from stream.evaluation.served_lists import NO_ARTIFACT, NO_LIST, OTHER_SETTINGS, ServedLists, UnknownListError
from stream.knowledge.catalogue import Catalogue
from stream.settings import Settings, WorkerSettings
from tests.artifacts import made_snapshot
from tests.records import event, record

SETTINGS = Settings(worker=WorkerSettings(scored_bursts=1.0))
DIGEST = SETTINGS.digest()


def answered(user: str, seen: int, artifact: str | None = "a1", **more: object) -> dict[str, object]:
    """The parts of a list that tell who answered what."""
    position = {"topic": "events", "partition": 0, "offset": seen}
    provenance = {"artifact": artifact, "parent": None, "event": position, "settings": DIGEST, "seed": 7}
    return {"user_id": user, "request_id": None, "provenance": provenance, "items": [{"item_id": "x"}], **more}


def lists_of(*values: object, first: int = 0) -> ServedLists:
    lists = ServedLists(DIGEST)
    for offset, value in enumerate(values, first):
        lists.take(record(offset, value, topic="recommendations"))
    return lists


def maker(lists: ServedLists, offset: int, user: str = "u") -> str:
    try:
        return lists.artifact(0, user, offset)
    except UnknownListError as reason:
        return str(reason)


def test_an_event_is_answered_by_the_first_list_that_has_seen_it() -> None:
    """Bursts share the list of their last event; lists for requests and of other users tell nothing."""
    lists = lists_of(
        answered("u", 3), answered("v", 4, "a2"), answered("u", 5, "a3", request_id="r"), answered("u", 9, "a2"), None
    )
    assert [maker(lists, offset) for offset in (1, 3, 4, 9, 10)] == ["a1", "a1", "a2", "a2", NO_LIST]


def test_what_cannot_be_made_again_has_its_reason() -> None:
    """No artifact, other settings, nobody."""
    changed = answered("u", 2)
    changed["provenance"] = {**changed["provenance"], "settings": "sha256:other"}  # type: ignore[dict-item]
    lists = lists_of(answered("u", 1, None), changed)
    assert [maker(lists, 1), maker(lists, 2), maker(lists, 1, "w")] == [NO_ARTIFACT, OTHER_SETTINGS, NO_LIST]


def test_behind_a_gap_a_first_list_speaks_for_its_own_event_alone() -> None:
    """Compaction has taken lists away: which one came before cannot be known."""
    lists = lists_of(answered("u", 3), answered("u", 9, "a2"), first=5)
    assert [maker(lists, offset) for offset in (2, 3, 4)] == [NO_LIST, "a1", "a2"]
    lists.take(record(8, answered("u", 20, "a3"), topic="recommendations"))
    assert [maker(lists, offset) for offset in (3, 19, 20)] == [NO_LIST, NO_LIST, "a3"]


def test_lists_of_events_that_were_taken_once_more_count() -> None:
    """A crash before the state was kept: the list up to event 7 was sent, then the same events again up to 5 and 9."""
    lists = lists_of(answered("u", 7, "a1"), answered("u", 5, "a2"), answered("u", 9, "a2"))
    assert [maker(lists, offset) for offset in (4, 7)] == ["a2", "a2"]


def test_events_are_asked_from_the_state_before_by_the_artifact_of_then() -> None:
    """Of seven records three are asked: not the first, not a retry, not a dislike, not after a list of nobody's."""
    snapshot, _ = made_snapshot(items=60)
    lists = lists_of(answered("u", 1, "a1"), answered("u", 4, "a2"), answered("u", 5, "gone"), answered("u", 6))
    again = ServedAgain(
        SETTINGS,
        lists=lists,
        catalogue=Catalogue(),
        open_artifact=lambda artifact: None if artifact == "gone" else snapshot,
        deepest=20,
    )
    for offset, what in enumerate(
        (
            event("u", "i1", event_id="e"),
            event("u", "i5"),  # the list after event 0 is a1's
            event("u", "i5", event_id="e"),
            event("u", "i2", "dislike"),
            event("u", "never made", "purchase"),  # a2's, after the dislike
            event("u", "i9"),  # a2's
            event("u", "i13"),  # of an artifact that is gone
        )
    ):
        again.event(record(offset, what))
    again.finish()
    assert again.left_out == {"first_of_user": 1, "duplicate": 1, "artifact_gone": 1}
    assert {kind: len(ranks) for kind, ranks in again.ranks.items()} == {
        ("a1", "click"): 1, ("a2", "purchase"): 1, ("a2", "click"): 1,
    }  # fmt: skip
    found = summed_up(again, [10, 20])
    assert found["by_artifact"]["a2"]["events"] == {"click": 1, "purchase": 1}
    assert found["by_artifact"]["a2"]["hits"]["20"]["purchase"] == 0
    assert found["queries"] == 3


def test_the_numbers_are_those_of_the_ranks() -> None:
    """Ranks 1, 11 and a miss of one artifact, 2 of another."""
    again = ServedAgain(
        SETTINGS, lists=ServedLists(DIGEST), catalogue=Catalogue(), open_artifact=lambda _: None, deepest=20
    )
    again.ranks = {("a1", "click"): [1, 0], ("a1", "cart"): [11], ("a2", "click"): [2]}
    again.popular_ranks = [0, 0, 4, 0]
    found = summed_up(again, [10, 20])
    assert found["mean"]["recall@20"] == 3 / 4
    assert found["against"]["popular"]["mrr@20"] == pytest.approx(1 / 16)
    assert found["by_artifact"]["a1"]["hits"] == {"10": {"cart": 0, "click": 1}, "20": {"cart": 1, "click": 1}}
    assert found["by_artifact"]["a1"]["reciprocal_rank_sum"] == pytest.approx(1 + 1 / 11)
    assert found["by_artifact"]["a2"]["reciprocal_rank_sum"] == pytest.approx(1 / 2)


def test_of_events_that_share_a_list_a_share_is_asked() -> None:
    """One list for events 0 to 2 and one for 3 and 4: none in between is asked at a share of 0, all at 1."""
    snapshot, _ = made_snapshot(items=60)
    for share, asked in ((0.0, 1), (1.0, 4)):
        again = ServedAgain(
            Settings(worker=WorkerSettings(scored_bursts=share)),
            lists=lists_of(answered("u", 2, "a1"), answered("u", 4, "a1")),
            catalogue=Catalogue(),
            open_artifact=lambda _artifact: snapshot,
            deepest=20,
        )
        for offset in range(5):
            again.event(record(offset, event("u", f"i{offset}")))
        again.finish()
        assert (sum(map(len, again.ranks.values())), again.left_out["first_of_user"]) == (asked, 1)
