"""The changelog's row: what any client reads in it, and what older and newer releases make of it."""

from __future__ import annotations

import msgspec
import pytest

from stream.state.row import VERSION, DamagedRowError, UnknownStateVersionError, decode_state, encode_state, is_older
from stream.state.user_state import UserState

STATE = UserState(
    offset=9,
    events_applied=4,
    items=["a", "é", "a"],
    types=["click", "cart", "click"],
    times=[5_000, 5_250, 5_100],
    purchased=["b"],
    recent_event_ids=bytes(range(16)),
    last_recommendation_id="r",
    last_artifact="20261123T160000Z-3f9c",
    last_items=["x", "y"],
)
FIRST = [
    1, 9, 4, ["a", "é", "a"], ["click", "cart", "click"], [5_000, 5_250, 5_100], ["b"],
    [0x0001020304050607, 0x08090A0B0C0D0E0F], "r", "20261123T160000Z-3f9c", ["x", "y"],
]  # fmt: skip


def test_any_client_reads_a_row() -> None:
    """The members are those of docs/messages.md, in its order."""
    assert msgspec.msgpack.decode(encode_state(STATE)) == [
        2, 9, 4, ["a", "é", "a"], ["click", "cart"], [5_000, 5_250, 5_100], ["b"],
        [0, 1, 0], "r", "20261123T160000Z-3f9c", ["x", "y"], bytes(range(16)),
    ]  # fmt: skip
    clicks = msgspec.structs.replace(STATE, types=["click"] * 3)
    assert msgspec.msgpack.decode(encode_state(clicks))[4:8:3] == [["click"], [0, 0, 0]]


@pytest.mark.parametrize("state", [STATE, UserState(), msgspec.structs.replace(STATE, types=["click"] * 3)])
def test_rows_read_back(state: UserState) -> None:
    """Whatever is written is read."""
    assert decode_state(encode_state(state)) == state


def test_rows_of_version_1_are_read() -> None:
    """What the first release wrote is the same state."""
    assert decode_state(msgspec.msgpack.encode(FIRST)) == STATE


def test_the_first_release_names_what_it_refuses() -> None:
    """It reads a row by these types before it looks at the version: with others it could not say what is wrong."""
    first = tuple[
        int, int, int, list[str], list[str], list[int], list[str], list[int], str | None, str | None, list[str]
    ]
    members = msgspec.msgpack.decode(encode_state(STATE))
    assert msgspec.convert(members[: len(FIRST)], first)[0] == VERSION


def test_a_row_from_the_future_is_refused() -> None:
    """A worker older than the row's writer stops rather than losing what it cannot read."""
    with pytest.raises(UnknownStateVersionError, match=str(VERSION + 1)):
        decode_state(msgspec.msgpack.encode([VERSION + 1, *FIRST[1:], "more"]))


@pytest.mark.parametrize(
    "bytes_of_somebody", [b"", b"\xc1", b"\x92\x02", b"{}", b"\x81\xa1\xff\x01", msgspec.msgpack.encode([2, "x"])]
)
def test_what_is_no_row_says_so_and_is_older_than_any(bytes_of_somebody: bytes) -> None:
    """A row that still stands before it is the one that counts."""
    row = encode_state(UserState(offset=0))
    with pytest.raises(DamagedRowError):
        decode_state(bytes_of_somebody)
    assert is_older(bytes_of_somebody, row)
    assert not is_older(row, bytes_of_somebody)
