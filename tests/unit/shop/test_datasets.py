"""Rows of the public data sets, written out by hand: each becomes its event, or a problem with its reason."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stream.shop.datasets import layout_of
from stream.shop.interactions import Interaction, map_columns
from stream.shop.rows import RowFile, RowProblem
from stream.wire.messages import Item

Read = list[tuple[int, list[Interaction] | RowProblem]]


def read(dataset: str, path: Path) -> Read:
    file = RowFile(path)
    layout = layout_of(dataset, file)
    parse = layout.parse(file)
    rows = file.rows(None if layout.header else layout.columns)
    return [(line, row if isinstance(row, RowProblem) else parse(row)) for line, row in rows]


def written(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def reasons(found: Read) -> dict[int, str]:
    return {line: parsed.reason for line, parsed in found if isinstance(parsed, RowProblem)}


def events(found: Read) -> list[Interaction]:
    return [event for _, parsed in found if not isinstance(parsed, RowProblem) for event in parsed]


RETAIL = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,"WHITE HANGING  HEART, T-LIGHT",6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom
C536379,D,Discount,-1,2010-12-01 09:41:00,27.5,14527.0,United Kingdom
536414,22139,,56,2010-12-01 11:52:00,0.0,,United Kingdom
536370,POST,POSTAGE,3,12/1/2010 8:45,18.0,12583.0,France
536371,22086,PAPER CHAIN,-4,2010-12-01 09:00:00,2.55,13748.0,United Kingdom
536372,22632,HAND WARMER,6,some day,1.85,17850.0,United Kingdom
536373,21071,too few columns
"""


def test_online_retail(tmp_path: Path) -> None:
    """A line is a purchase, a cancelled one a remove with a positive quantity; other lines are named."""
    found = read("online-retail", written(tmp_path, "retail.csv.gz", RETAIL))
    assert reasons(found) == {4: "no_user", 6: "bad_number", 7: "bad_time", 8: "malformed_row"}
    bought, cancelled, postage = events(found)
    assert bought == Interaction(
        user_id="17850",
        item_id="85123A",
        event_type="purchase",
        timestamp=1291191960000,  # 2010-12-01T08:26:00Z
        session_id="536365",
        quantity=6.0,
        price=2.55,
        currency="GBP",
        item=Item("85123A", title="WHITE HANGING HEART, T-LIGHT", price=2.55, currency="GBP"),
    )
    assert (cancelled.event_type, cancelled.quantity, cancelled.item) == ("remove", 1.0, None)
    assert postage.timestamp == 1291193100000  # 2010-12-01T08:45:00Z, in the order of the original file
    assert postage.item is not None and not postage.item.available


def test_retailrocket(tmp_path: Path) -> None:
    """The three kinds of events, time in milliseconds; an unknown kind is no event."""
    text = (
        "timestamp,visitorid,event,itemid,transactionid\n"
        "1433221332117,257597,view,355908,\n"
        "1433224214164,992329,addtocart,248676,\n"
        "1433222276276,599528,transaction,356475,4000\n"
        "1433222276277,599528,wishlist,356475,\n"
    )
    found = read("retailrocket", written(tmp_path, "events.csv", text))
    assert [(e.user_id, e.event_type, e.item_id, e.timestamp) for e in events(found)] == [
        ("257597", "click", "355908", 1433221332117),
        ("992329", "cart", "248676", 1433224214164),
        ("599528", "purchase", "356475", 1433222276276),
    ]
    assert reasons(found) == {5: "no_type"}


def test_yoochoose_in_its_four_layouts(tmp_path: Path) -> None:
    """Clicks and buys as published, ADER's stream and session-rec's cut; a session is its own user everywhere."""
    clicks = "1,2014-04-07T10:51:09.277Z,214536502,0\n1,2014-04-07T10:54:09.868Z,214536500,0\n"
    click = events(read("yoochoose", written(tmp_path, "yoochoose-clicks.dat", clicks)))[0]
    assert (click.user_id, click.session_id, click.item_id, click.timestamp) == ("1", "1", "214536502", 1396867869277)

    buys = "420374,2014-04-06T18:44:58.314Z,214537888,12462,1\n420374,2014-04-06T18:44:58.325Z,214537850,0,0\n"
    first, second = events(read("yoochoose", written(tmp_path, "yoochoose-buys.dat", buys)))
    assert (first.event_type, first.price, first.quantity) == ("purchase", 12462.0, 1.0)
    assert (second.price, second.quantity, second.item) == (None, None, None)

    ader = "period,session_id,item_id\n0,5,10\n0,6,80\n1,5,11\n"
    clock = [event.timestamp for event in events(read("yoochoose", written(tmp_path, "ader.csv", ader)))]
    day = 86_400_000
    assert clock == [1396310400000, 1396310400000 + day // 2, 1396310400000 + day]

    cut = "SessionId\tItemId\tTime\n3\t214716935\t1396437466.94\n"
    assert events(read("yoochoose", written(tmp_path, "cut.tsv", cut)))[0].timestamp == 1396437466940


def test_diginetica(tmp_path: Path) -> None:
    """The session stands in for an unknown user, and the time of day is the time since the session began."""
    text = "sessionId;userId;itemId;timeframe;eventdate\n1;NA;81766;526309;2016-05-09\n2;17;31331;1031018;2016-05-09\n"
    anonymous, known = events(read("diginetica", written(tmp_path, "train-item-views.csv", text)))
    assert (anonymous.user_id, anonymous.session_id, anonymous.timestamp) == ("session-1", "1", 1462752000000 + 526309)
    assert known.user_id == "17"


def test_movielens(tmp_path: Path) -> None:
    """Stars travel in the context; below two and a half they are a dislike. The older file is separated by `::`."""
    text = "userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n1,1029,0.5,1260759179\n"
    liked, disliked = events(read("movielens", written(tmp_path, "ratings.csv", text)))
    assert (liked.event_type, liked.context, liked.timestamp) == ("click", {"rating": 2.5}, 1260759144000)
    assert disliked.event_type == "dislike"
    old = events(read("movielens", written(tmp_path, "ratings.dat", "1::1193::5::978300760\n")))
    assert (old[0].item_id, old[0].timestamp) == ("1193", 978300760000)


def test_otto_as_sessions_and_as_rows(tmp_path: Path) -> None:
    """A line of JSON is a session of events; the Parquet copies have a row for each, their types numbered."""
    line = '{"session": 7, "events": [{"aid": 59625, "ts": 1661724000278, "type": "clicks"}, '
    line += '{"aid": 1142000, "ts": 1661724058378, "type": "carts"}]}\n{"session": 8, "events"'
    found = read("otto", written(tmp_path, "otto.jsonl", line))
    assert [(e.user_id, e.item_id, e.event_type) for e in events(found)] == [
        ("7", "59625", "click"),
        ("7", "1142000", "cart"),
    ]
    assert reasons(found) == {2: "not_json"}
    table = pa.table({"session": [7], "aid": [9], "ts": [1661724000278], "type": [2]})
    pq.write_table(table, tmp_path / "otto.parquet")
    assert events(read("otto", tmp_path / "otto.parquet"))[0].event_type == "purchase"


def test_unknown_layout_names_what_was_expected(tmp_path: Path) -> None:
    """A file that is not of the data set is refused with its own first row and the known ones."""
    with pytest.raises(ValueError, match=r"'a', 'b'.*visitorid"):
        layout_of("retailrocket", RowFile(written(tmp_path, "x.csv", "a,b\n1,2\n")))


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("1396437466", 1396437466000),  # seconds
        ("1396437466940", 1396437466940),  # milliseconds
        ("1396437466940000", 1396437466940),  # microseconds
        ("2014-04-02T11:17:46.940Z", 1396437466940),
        ("2014-04-02 13:17:46.940+02:00", 1396437466940),
        ("yesterday", "bad_time"),
        ("", "bad_time"),
        ("inf", "bad_time"),
    ],
)
def test_columns_of_any_file(time: str, expected: int | str) -> None:
    """`--columns` reads any time that people write; a row without a user or item says which is missing."""
    parse = map_columns({"user": "who", "item": "what", "time": "when"}, "click")
    parsed = parse({"who": "u", "what": "i", "when": time})
    if isinstance(parsed, RowProblem):
        assert parsed.reason == expected
    else:
        assert parsed == [Interaction("u", "i", "click", int(expected))]
    assert parse({"who": " ", "what": "i", "when": "1"}) == RowProblem("no_user", "the field is empty")
    assert parse({"who": "u", "what": None, "when": "1"}) == RowProblem("no_item", "the field is empty")


def test_latin_text_and_embedded_newlines(tmp_path: Path) -> None:
    """A file in the Windows encoding keeps its letters, and line numbers count lines that a quoted field spans."""
    path = tmp_path / "w.csv"
    path.write_bytes('user,item,title\nu1,i1,"CAFÉ\nNOIR"\n,i2,x\n'.encode("cp1252"))
    rows = list(RowFile(path).rows())
    assert rows == [
        (3, {"user": "u1", "item": "i1", "title": "CAFÉ\nNOIR"}),
        (4, {"user": "", "item": "i2", "title": "x"}),
    ]
