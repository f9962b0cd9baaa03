"""What a micro-batch does to user state, and how it is scored."""

from __future__ import annotations

import pytest

from stream.settings import EventSettings
from stream.state.user_state import UserState, decode_state, encode_state
from stream.wire.decoding import Decoder
from stream.worker.batch import Touched, decode, fold, outcome_counts
from stream.worker.scoring import score
from tests.records import chunk, event, record

DECODER = Decoder(EventSettings())


def touched_by(*records: tuple[int, object], rows: dict[tuple[int, bytes], bytes] | None = None) -> list[Touched]:
    chunks = [chunk(*(record(offset, value) for offset, value in records))]
    held = rows or {}
    return fold(decode(chunks, DECODER), lambda partition, user: held.get((partition, user)))


def test_every_record_is_applied_duplicate_or_dead() -> None:
    """in = applied + duplicate + dead, by event type under its canonical name."""
    records = [
        (0, event("u", "a", "view")), (1, b"{"), (2, event("u", "b", "buy", event_id="e")),
        (3, event("v", "b", "buy", event_id="e")), (4, event("u", "b", "buy", event_id="e")), (5, None),
    ]  # fmt: skip
    decoded = decode([chunk(*(record(offset, value) for offset, value in records))], DECODER)
    counts = outcome_counts(fold(decoded, lambda _partition, _user: None), len(decoded.dead))
    assert counts == {
        ("click", "applied"): 1, ("purchase", "applied"): 2, ("purchase", "duplicate"): 1, ("unknown", "dead"): 2,
    }  # fmt: skip
    assert [(letter.record.offset, letter.rejection.code) for letter in decoded.dead] == [
        (1, "not_json"), (5, "tombstone"),
    ]  # fmt: skip


def test_a_replay_changes_nothing_but_is_seen() -> None:
    """Offsets at or below the stamp leave the state as it is; the list's provenance is the stamp."""
    (first,) = touched_by((3, event("u", "a")), (4, event("u", "b")))
    row = encode_state(first.state)
    (again,) = touched_by((3, event("u", "a")), rows={(0, b"u"): row})
    assert (again.changed, again.newest, encode_state(again.state)) == (False, 4, row)


def test_a_duplicate_counts_as_seen_behind_the_stamp() -> None:
    """A producer's retry at a later offset is what the list has seen, though the stamp stays."""
    (first,) = touched_by((3, event("u", "a", event_id="e")))
    (again,) = touched_by((8, event("u", "a", event_id="e")), rows={(0, b"u"): encode_state(first.state)})
    assert (again.changed, again.state.offset, again.newest) == (False, 3, 8)


def test_a_user_on_two_partitions_has_two_states() -> None:
    """Stamps are offsets of one partition, so each partition has its own row."""
    chunks = [chunk(record(9, event("u", "a"), partition=0)), chunk(record(2, event("u", "b"), partition=1))]
    states = fold(decode(chunks, DECODER), lambda _partition, _user: None)
    assert [(user.partition, user.state.offset, user.state.items) for user in states] == [(0, 9, ["a"]), (1, 2, ["b"])]


def test_events_are_scored_against_the_list_served_before_them() -> None:
    """Ranks 1, 11 and none: two hits at 20, one at 10, reciprocal ranks 1 + 1/11; a dislike is no target."""
    served = [f"i{place}" for place in range(1, 21)]
    row = encode_state(UserState(offset=0, last_items=served))
    touched = touched_by(
        (1, event("u", "i1")), (2, event("u", "i11")), (3, event("u", "elsewhere")), (4, event("u", "i2", "dislike")),
        rows={(0, b"u"): row},
    )  # fmt: skip
    scored = score(touched, ["elsewhere", "i11"], DECODER.types)
    assert scored.events == {"click": 3}
    assert scored.hits == {(10, "click"): 1, (20, "click"): 2}
    assert scored.popular_hits == {(10, "click"): 2, (20, "click"): 2}
    assert scored.reciprocal_rank_sum == pytest.approx(1 + 1 / 11)


def test_who_was_never_served_is_not_scored() -> None:
    """A first event has no list before it, nor has a replayed one."""
    (first,) = touched_by((1, event("u", "i1")))
    assert not score([first], ["i1"], DECODER.types).events
    first.state.last_items = ["i1"]
    replayed = touched_by((1, event("u", "i1")), rows={(0, b"u"): encode_state(first.state)})
    assert not score(replayed, ["i1"], DECODER.types).events
    assert decode_state(encode_state(first.state)).last_items == ["i1"]
