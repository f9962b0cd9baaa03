"""User state as a fold: where the log is cut and how often a piece is read again makes no difference."""

from __future__ import annotations

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.state.row import encode_state
from stream.state.user_state import HISTORY, Outcome, Stamped, UserState, advance
from stream.wire.messages import Event


@st.composite
def logs(draw: st.DrawFn) -> list[Stamped]:
    """One user's events in log order; offsets grow with gaps, where other users' events stand."""
    size = draw(st.integers(1, 320))
    seed = draw(st.randoms(use_true_random=False))
    offset = 0
    log = []
    for _ in range(size):
        offset += seed.randint(1, 3)
        kind = seed.choice(["click", "purchase", "purchase", "remove"])
        event_id = f"e{seed.randint(0, 90)}" if seed.random() < 0.6 else None
        log.append(Stamped(offset, Event("u", f"i{seed.randint(0, 260)}", kind, offset * 10, event_id)))
    return log


def folded(*pieces: list[Stamped]) -> bytes:
    state = UserState()
    for piece in pieces:
        advance(state, piece)
    return encode_state(state)


@settings(max_examples=30)
@given(logs(), st.data())
def test_cutting_the_log_anywhere_gives_the_same_state(log: list[Stamped], data: st.DataObject) -> None:
    """Micro-batches of any sizes fold to the same bytes."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(log)), max_size=12)))
    pieces = [log[start:end] for start, end in zip([0, *cuts], [*cuts, len(log)], strict=True)]
    assert folded(*pieces) == folded(log)
    assert folded(*([event] for event in log)) == folded(log)


@settings(max_examples=30)
@given(logs(), st.data())
def test_reading_a_piece_again_changes_nothing(log: list[Stamped], data: st.DataObject) -> None:
    """After a crash the log is read again from an offset before the state's: the state is as if there was no crash."""
    end = data.draw(st.integers(0, len(log)))
    start = data.draw(st.integers(0, end))
    assert folded(log[:end], log[start:]) == folded(log)
    assert folded(log, log[start:end]) == folded(log)
    assert folded(log, log) == folded(log)


@settings(max_examples=30)
@given(logs())
def test_the_fold_agrees_with_a_plain_one(log: list[Stamped]) -> None:
    """The oracle keeps everything in plain containers and cuts only when asked."""
    applied: list[Event] = []
    seen: deque[str] = deque(maxlen=64)
    outcomes = []
    for _, event in log:
        repeated = event.event_id is not None and event.event_id in seen
        outcomes.append(Outcome.DUPLICATE if repeated else Outcome.APPLIED)
        if not repeated:
            applied.append(event)
            if event.event_id is not None:
                seen.append(event.event_id)
    bought = list(dict.fromkeys(event.item_id for event in reversed(applied) if event.event_type == "purchase"))

    state = UserState()
    assert advance(state, log) == outcomes
    assert state.items == [event.item_id for event in applied][-HISTORY:]
    assert state.events_applied == len(applied)
    assert state.purchased == bought[:200][::-1]
    assert state.offset * 10 == applied[-1].timestamp
