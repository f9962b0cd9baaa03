"""Reading logs: formats, columns, times, and rows that cannot be events."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream.evaluation.event_log import EventLog, LogError, with_items
from stream.evaluation.log_file import DATASET_TYPES, DATASETS, DAY_MS, read_log, read_sequences
from stream.settings import Settings
from stream.wire.messages import Item

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


def test_without_times_a_user_has_one_session_a_period(tmp_path: Path) -> None:
    """Times that were made up tell no pauses: rows far apart in the file belong together, periods do not."""
    file = tmp_path / "log.csv"
    file.write_text("u,i,p\nx,1,0\ny,2,0\nx,3,0\nx,4,1\ny,5,1\n")
    sessions = read_log(file, {"user": "u", "item": "i", "period": "p"}, TYPES).sessions
    assert sessions is not None
    x_first, y_first, x_again, x_later, y_later = sessions.tolist()
    assert x_first == x_again
    assert len({x_first, y_first, x_later, y_later}) == 4


def test_users_that_became_floating_point_numbers_are_whole(tmp_path: Path) -> None:
    """A column of ids with gaps: 17850.0 is user 17850, the gap is no user."""
    table = pa.table({"u": pa.array([17850.0, None, 3.0]), "i": ["a", "b", "c"]})
    pq.write_table(table, tmp_path / "log.parquet")
    log = read_log(tmp_path / "log.parquet", {"user": "u", "item": "i"}, TYPES)
    assert [log.user_ids[user] for user in log.users] == ["17850", "3"]


def test_sequences(tmp_path: Path) -> None:
    """A line a user, items in order; all users end together."""
    (tmp_path / "s.txt").write_text("1 5 6 7\n2 6\n\n")
    log = read_sequences(tmp_path / "s.txt", TYPES)
    pairs = [(log.user_ids[user], log.item_ids[item]) for user, item in zip(log.users, log.items, strict=True)]
    assert pairs == [("1", "5"), ("1", "6"), ("1", "7"), ("2", "6")]
    assert np.diff(log.times).tolist() == [60_000, 60_000, 0]


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
    with pytest.raises(LogError, match=says):
        read_log(tmp_path / "log.csv", columns, TYPES)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """Missing or broken: the file is named."""
    (tmp_path / "log.parquet").write_bytes(b"nothing of the kind")
    for name in ("missing.csv", "log.parquet"):
        with pytest.raises(LogError, match=name):
            read_log(tmp_path / name, {"user": "u", "item": "i"}, TYPES)


def csv(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    file = tmp_path / "log.csv"
    file.write_bytes(text.encode(encoding))
    return file


def test_rows_that_are_no_events_are_left_out_and_counted_by_reason(tmp_path: Path) -> None:
    """One good row among one of each kind of bad ones, wherever in the file they stand."""
    rows = ["7,a,2020-01-01T00:00:02,view,0", ",a,2020-01-01,view,0", "7,NA,2020-01-01,view,0", "7,a,soon,view,0"]
    rows += ["7,a,,view,0", "7,a,2020-01-01,dance,0", "7,a,2020-01-01,view,first", "7,a,2020-01-01"]
    log = read_log(csv(tmp_path, "\n".join(["who,what,when,how,day", *rows])), {**COLUMNS, "period": "day"}, TYPES)
    assert named(log) == [("7", "a", "click", 1_577_836_802_000)]
    assert log.left_out == {
        "malformed_row": 1,
        "no_user": 1,
        "no_item": 1,
        "no_type": 1,
        "bad_time": 2,
        "bad_period": 1,
    }


def test_one_bad_time_far_behind_is_left_out(tmp_path: Path) -> None:
    """What the first thousand rows look like says nothing of the last one."""
    rows = [f"u{at},a,{1_577_836_800 + at}" for at in range(100_000)]
    log = read_log(
        csv(tmp_path, "\n".join(["u,i,t", *rows, "u,a,noon"])), {"user": "u", "item": "i", "time": "t"}, TYPES
    )
    assert (len(log), log.left_out) == (100_000, {"bad_time": 1})


@pytest.mark.parametrize(
    "time",
    [
        "2020-01-01T00:00:02Z",
        "2020-01-01T01:00:02+01:00",
        "2020-01-01 00:00:02",
        "1577836802",
        "1577836802000",
        "1577836802000000",
        "1.577836802e9",
        "1/1/2020 0:00:02",
    ],
)
def test_times_as_files_have_them(tmp_path: Path, time: str) -> None:
    """All the same moment."""
    log = read_log(csv(tmp_path, f"u,i,t\n1,2,{time}"), {"user": "u", "item": "i", "time": "t"}, TYPES)
    assert log.times.tolist() == [1_577_836_802_000]


def test_parquet_times_with_gaps(tmp_path: Path) -> None:
    """Timestamps of any unit and zone, missing ones left out."""
    moments = [datetime(2020, 1, 1, 0, 0, 2, tzinfo=UTC), None]
    for kind in (pa.timestamp("us", "UTC"), pa.timestamp("ns", "Europe/Berlin")):
        table = pa.table({"u": ["1", "2"], "i": ["a", "b"], "t": pa.array(moments, kind)})
        pq.write_table(table, tmp_path / "log.parquet")
        log = read_log(tmp_path / "log.parquet", {"user": "u", "item": "i", "time": "t"}, TYPES)
        assert (log.times.tolist(), log.left_out) == ([1_577_836_802_000], {"bad_time": 1})


def test_json_lines_with_a_broken_line(tmp_path: Path) -> None:
    """The others are read; a field that one line lacks is missing there alone."""
    file = tmp_path / "log.jsonl"
    file.write_text('{"u": 7, "i": "a", "t": 1577836802}\n{"u": 7,\n\n{"i": "a", "t": 1577836802}\n')
    log = read_log(file, {"user": "u", "item": "i", "time": "t"}, TYPES)
    assert named(log) == [("7", "a", "click", 1_577_836_802_000)]
    assert log.left_out == {"not_json": 1, "no_user": 1}


def test_periods_out_of_order_are_put_in_order(tmp_path: Path) -> None:
    """By period first; within one as in the file."""
    log = read_log(csv(tmp_path, "u,i,p\n1,a,1\n1,b,0\n1,c,1\n"), {"user": "u", "item": "i", "period": "p"}, TYPES)
    assert [log.item_ids[item] for item in log.items] == ["b", "a", "c"]
    assert log.periods.tolist() == [0, 1, 1]


def test_returns_and_contents_of_the_online_retail_data(tmp_path: Path) -> None:
    """A negative quantity is a removal, none at all no event; what is told of an item is heard after its row, once."""
    header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID"
    rows = ["1,A,Café lamp,2,2010-12-01 08:26:00,2.5,17.0", "2,A,Café lamp,1,2010-12-01 08:27:00,2.5,18.0"]
    rows += ["C3,A,Café lamp,-2,2010-12-01 08:28:00,2.5,17.0", "4,B,,1,2010-12-01 08:29:00,0,17.0"]
    rows += ["5,A,Lamp,0,2010-12-01 08:30:00,2.5,17.0", "6,A,Lamp,1,2010-12-01 08:31:00,3,17.0"]
    file = csv(tmp_path, "\n".join([header, *rows]), "cp1252")
    log = read_log(file, DATASETS["online-retail"], TYPES, DATASET_TYPES["online-retail"])
    assert [(user, item, kind) for user, item, kind, _ in named(log)] == [
        ("17", "A", "purchase"),
        ("18", "A", "purchase"),
        ("17", "A", "remove"),
        ("17", "B", "purchase"),
        ("17", "A", "purchase"),
    ]
    assert log.left_out == {"bad_number": 1}
    assert [tuple(news) for news in log.news] == [
        (1, "A", Item("A", title="Café lamp", price=2.5)),
        (5, "A", Item("A", title="Lamp", price=3.0)),
    ]


def test_items_of_a_file_are_known_from_their_publication(tmp_path: Path) -> None:
    """From the start where none is told, else before the first event at or after it."""
    log = read_log(csv(tmp_path, "u,i,t\n1,a,100\n1,b,200\n"), {"user": "u", "item": "i", "time": "t"}, TYPES)
    items = [Item("b", published_at=150_000), Item("a"), Item("c", published_at="1970-01-01T00:03:20Z")]
    assert [(news.position, news.item_id) for news in with_items(log, items).news] == [(0, "a"), (1, "b"), (1, "c")]
