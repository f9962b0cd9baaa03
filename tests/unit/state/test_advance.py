"""The fold of events into a user's state, by hand."""

from __future__ import annotations

from stream.state.row import encode_state
from stream.state.user_state import (
    HISTORY,
    PURCHASED,
    RECENT_EVENT_IDS,
    Outcome,
    Stamped,
    UserState,
    advance,
    with_event_id,
)
from stream.wire.messages import Event


def stamped(offset: int, item: str = "i", event_type: str = "click", event_id: str | None = None) -> Stamped:
    return Stamped(offset, Event("u1", item, event_type, 1_000 + offset, event_id))


def test_three_events_by_hand() -> None:
    """The history is oldest first, the stamp is the last offset, a purchase is remembered."""
    state = UserState()
    outcomes = advance(state, [stamped(3, "a"), stamped(5, "b", "purchase"), stamped(9, "c", "remove")])
    assert outcomes == [Outcome.APPLIED] * 3
    assert (state.offset, state.events_applied) == (9, 3)
    assert (state.items, state.types) == (["a", "b", "c"], ["click", "purchase", "remove"])
    assert state.times == [1_003, 1_005, 1_009]
    assert state.purchased == ["b"]


def test_what_was_applied_is_not_applied_again() -> None:
    """Offsets at or below the stamp change nothing at all."""
    state = UserState()
    advance(state, [stamped(3, "a"), stamped(5, "b")])
    row = encode_state(state)
    assert advance(state, [stamped(3, "a"), stamped(5, "b"), stamped(4, "x")]) == [Outcome.DUPLICATE] * 3
    assert encode_state(state) == row


def test_a_producers_retry_is_applied_once() -> None:
    """The same event id at a later offset changes nothing, not even the stamp; another id or none is another event."""
    state = UserState()
    advance(state, [stamped(1, "a", event_id="e1")])
    row = encode_state(state)
    assert advance(state, [stamped(2, "a", event_id="e1")]) == [Outcome.DUPLICATE]
    assert encode_state(state) == row
    outcomes = advance(state, [stamped(3, "a"), stamped(4, "a"), stamped(5, "a", event_id="e2")])
    assert outcomes == [Outcome.APPLIED] * 3
    assert state.events_applied == 4


def test_event_ids_are_remembered_for_a_while() -> None:
    """The 64 latest ids of a user are known, the one before them is forgotten."""
    state = UserState()
    advance(state, [stamped(n, event_id=f"e{n}") for n in range(RECENT_EVENT_IDS + 1)])
    assert advance(state, [stamped(100, event_id="e1")]) == [Outcome.DUPLICATE]
    assert advance(state, [stamped(101, event_id="e0")]) == [Outcome.APPLIED]


def test_histories_are_capped() -> None:
    """The latest 50 interactions and the latest 200 distinct purchases are kept; all events are counted."""
    state = UserState()
    advance(state, [stamped(n, f"i{n}", "purchase") for n in range(500)])
    assert state.events_applied == 500
    assert state.items == [f"i{n}" for n in range(500 - HISTORY, 500)]
    assert len(state.types) == len(state.times) == HISTORY
    assert state.purchased == [f"i{n}" for n in range(500 - PURCHASED, 500)]


def test_buying_again_makes_a_purchase_the_latest() -> None:
    """Each item stands once among the purchased."""
    state = UserState()
    advance(state, [stamped(n, item, "purchase") for n, item in enumerate("abcab")])
    assert state.purchased == ["c", "a", "b"]


def test_event_ids_are_known_by_blake2b() -> None:
    """The same in every process and language: BLAKE2b with a digest of 8 bytes."""
    assert with_event_id(b"before..", "") == b"before.." + bytes.fromhex("e4a6a0577479b2b4")


def test_a_digest_across_two_others_is_no_repetition() -> None:
    """Only whole digests count, also behind one that is none."""
    digest = bytes.fromhex("e4a6a0577479b2b4")
    across = b"abc" + digest + b"defgh"
    assert with_event_id(across, "") == across + digest
    assert with_event_id(across + digest, "") is None
