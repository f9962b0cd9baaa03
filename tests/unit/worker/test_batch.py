"""What a micro-batch does to user state."""

from __future__ import annotations

from stream.queries import ScoredEvents
from stream.settings import EventSettings
from stream.state.row import encode_state
from stream.wire.decoding import Decoder
from stream.worker.batch import Touched, decode, fold, outcome_counts
from tests.records import chunk, event, record

DECODER = Decoder(EventSettings())
EVERYTHING = ScoredEvents(frozenset({"click", "purchase"}))


def touched_by(*records: tuple[int, object], rows: dict[tuple[int, bytes], bytes] | None = None) -> list[Touched]:
    chunks = [chunk(*(record(offset, value) for offset, value in records))]
    held = rows or {}
    return fold(decode(chunks, DECODER), lambda partition, user: held.get((partition, user)), EVERYTHING)


def test_every_record_is_applied_duplicate_or_dead() -> None:
    """in = applied + duplicate + dead, by event type under its canonical name."""
    records = [
        (0, event("u", "a", "view")), (1, b"{"), (2, event("u", "b", "buy", event_id="e")),
        (3, event("v", "b", "buy", event_id="e")), (4, event("u", "b", "buy", event_id="e")), (5, None),
    ]  # fmt: skip
    decoded = decode([chunk(*(record(offset, value) for offset, value in records))], DECODER)
    counts = outcome_counts(fold(decoded, lambda _partition, _user: None, EVERYTHING))
    assert counts == {("click", "applied"): 1, ("purchase", "applied"): 2, ("purchase", "duplicate"): 1}
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
    states = fold(decode(chunks, DECODER), lambda _partition, _user: None, EVERYTHING)
    assert [(user.partition, user.state.offset, user.state.items) for user in states] == [(0, 9, ["a"]), (1, 2, ["b"])]


def test_a_user_whose_row_is_damaged_begins_anew() -> None:
    """Whatever stands in the row, however much of one: the events that come are applied, and it is told of whom."""
    (first,) = touched_by((3, event("u", "a")), (4, event("u", "b")))
    row = encode_state(first.state)
    cut = [row[:size] for size in range(len(row))]
    for damaged in [*cut, b"\xff\xfe", row + b"more", row[:2] + b"\xa1x" + row[3:], row.replace(b"click", b"cl\xffck")]:
        (user, other) = touched_by((5, event("u", "c")), (6, event("v", "a")), rows={(0, b"u"): damaged})
        assert (user.damaged, user.state.items, user.state.offset, other.damaged) == (True, ["c"], 5, False), damaged
