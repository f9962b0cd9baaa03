"""Reading logs: formats, columns, times, and rows that cannot be events."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream.evaluation.log_file import DAY_MS, EventLog, LogFileError, read_log, read_sequences
from stream.settings import Settings

TYPES = Settings().event_types()
COLUMNS = {"user": "who", "item": "what", "time": "when", "type": "how"}
ROWS = [("7", "a", "2020-01-01T00:00:02", "view"), ("8", "b", "2020-01-01T00:00:01", "buy"), ("7", "", "", "view")]


def named(log: EventLog) -> list[tuple[str, str, str, int]]:
    return [
        (log.user_ids[user], log.item_ids[item], TYPES.names[kind], int(time))
        for user, item, kind, time in zip(log.users, log.items, log.types, log.times, strict=True)
    ]


EXPECTED = [("8", "b", "purchase", 1_577_836_801_000), ("7", "a", "click", 1_577_836_802_000)]


@pytest.mark.parametrize("ending", ["csv", "tsv", "csv.gz", "tsv.gz"])
def test_text_files(tmp_path: Path, ending: str) -> None:
    """Ordered by time; aliases of event types are known; a row without an item is no event."""
    mark = "," if ending.startswith("csv") else "\t"
    text = "\n".join(
        mark.join(row) for row in [("who", "what", "when", "how"), *ROWS[:2], ("7", "", ROWS[0][2], "view")]
    )
    file = tmp_path / f"log.{ending}"
    file.write_bytes(gzip.compress(text.encode()) if ending.endswith("gz") else text.encode())
    assert named(read_log(file, COLUMNS, TYPES)) == EXPECTED


def test_parquet_and_json_lines(tmp_path: Path) -> None:
    """The same log in both, with numbers for users and seconds for times."""
    table = pa.table(
        {"who": [7, 8], "what": ["a", "b"], "when": [1_577_836_802, 1_577_836_801], "how": ["view", "buy"]}
    )
    pq.write_table(table, tmp_path / "log.parquet")
    lines = [
        f'{{"who": {u}, "what": "{i}", "when": {t}, "how": "{h}"}}'
        for u, i, t, h in zip(*table.to_pydict().values(), strict=True)
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(lines))
    assert named(read_log(tmp_path / "log.parquet", COLUMNS, TYPES)) == EXPECTED
    assert named(read_log(tmp_path / "log.jsonl", COLUMNS, TYPES)) == EXPECTED


def test_without_times_a_periods_rows_are_spread_over_a_day(tmp_path: Path) -> None:
    """Four rows of one day are six hours apart; the next period begins the next day."""
    file = tmp_path / "log.csv"
    file.write_text("u,i,p\n" + "\n".join(f"x,{at},{int(at == 4)}" for at in range(5)))
    log = read_log(file, {"user": "u", "item": "i", "period": "p"}, TYPES)
    assert np.diff(log.times).tolist() == [DAY_MS // 4] * 4
    assert log.periods.tolist() == [0, 0, 0, 0, 1]
    assert log.until_period(0).item_ids == log.item_ids
    assert len(log.until_period(0)) == 4


def test_users_that_became_floating_point_numbers_are_whole(tmp_path: Path) -> None:
    """A column of ids with gaps: 17850.0 is user 17850, the gap is no user."""
    table = pa.table({"u": pa.array([17850.0, None, 3.0]), "i": ["a", "b", "c"]})
    pq.write_table(table, tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet", {"user": "u", "item": "i"}, TYPES)
    assert [log.user_ids[user] for user in log.users] == ["17850", "3"]


def test_sequences(tmp_path: Path) -> None:
    """A line a user, items in order."""
    (tmp_path / "s.txt").write_text("1 5 6 7\n2 6\n\n")
    log = read_sequences(tmp_path / "s.txt", TYPES)
    pairs = [(log.user_ids[user], log.item_ids[item]) for user, item in zip(log.users, log.items, strict=True)]
    assert pairs == [("1", "5"), ("1", "6"), ("1", "7"), ("2", "6")]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"item": "i"}, "no column is named for 'user'"),
        ({"user": "u", "item": "j"}, "no column 'j'; it has u, i, t"),
        ({"user": "u", "item": "i", "time": "t"}, "'t' is not made of times"),
        ({"user": "u", "item": "i", "period": "t"}, "'t' is not made of whole numbers"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, columns: dict[str, str], says: str) -> None:
    """Missing and unfit columns are named."""
    (tmp_path / "log.csv").write_text("u,i,t\n1,2,soon\n")
    with pytest.raises(LogFileError, match=says):
        read_log(tmp_path / "log.csv", columns, TYPES)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """Missing or broken: the file is named."""
    (tmp_path / "log.parquet").write_bytes(b"nothing of the kind")
    for name in ("missing.csv", "log.parquet"):
        with pytest.raises(LogFileError, match=name):
            read_log(tmp_path / name, {"user": "u", "item": "i"}, TYPES)
