"""Rows of the changelog as a worker takes them in."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from aiokafka import TopicPartition

from stream.settings import Settings
from stream.state.row import encode_state
from stream.state.table import PartitionRows
from stream.state.user_state import UserState
from stream.worker.app import add_table, build_app


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


async def test_a_row_made_before_others_rows_were_read_sets_nobody_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """This worker was taken for dead, and writes a row of u made at 5, then one made at 6, while another one's row made
    at 9 stands between them: that one counts, and the changelog must end with it.
    """
    settings = Settings()
    table = add_table(build_app(settings, "http://here"), settings)
    changelog = [(b"v", row(3)), (b"u", row(5)), (b"u", row(9))]
    held = table.data.partition(0)
    held.apply(*changelog[0], 0)

    async def read(partitions: Mapping[TopicPartition, PartitionRows]) -> None:
        for offset, (key, value) in enumerate(changelog):
            for rows in partitions.values():
                rows.apply(key, value, offset)

    monkeypatch.setattr(table, "_load", read)
    await table.put(0, {b"u": row(5)}, 2)  # where the other's row stands, so ours came before it
    changelog.append((b"u", row(6)))
    await table.put(0, {b"u": row(6)}, 3)
    assert table.row(0, b"u") == row(9)
    assert table.outdated([0]) == {0: {b"u": row(9)}}
    await table.put(0, {b"u": row(9)}, 4)
    assert (table.row(0, b"u"), table.outdated([0])) == (row(9), {})
