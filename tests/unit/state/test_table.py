"""Rows of the changelog as a worker takes them in."""

from __future__ import annotations

from stream.state.row import encode_state
from stream.state.table import PartitionRows
from stream.state.user_state import UserState


def row(offset: int) -> bytes:
    return encode_state(UserState(offset=offset, events_applied=offset))


def test_the_newest_row_of_a_user_counts_wherever_it_stands() -> None:
    """A row of an earlier state behind a later one changes nothing but that the user is known as outdated, until the
    changelog ends with the newest again.
    """
    rows = PartitionRows()
    for offset, (key, stamp) in enumerate([(b"u", 3), (b"v", 4), (b"u", 9), (b"u", 3), (b"v", 4)]):
        rows.apply(key, row(stamp), offset)
    assert (rows.rows, rows.offset, rows.outdated) == ({b"u": row(9), b"v": row(4)}, 4, {b"u"})
    rows.apply(b"u", row(9), 5)
    assert (rows.rows[b"u"], rows.outdated) == (row(9), set())


def test_a_null_row_forgets_the_user() -> None:
    """Whatever came before it, and an outdated row with it."""
    rows = PartitionRows()
    for offset, value in enumerate([row(9), row(3), None]):
        rows.apply(b"u", value, offset)
    assert (rows.rows, rows.offset, rows.outdated) == ({}, 2, set())
