"""A log from a file: CSV or TSV (gzip or not), Parquet, JSON Lines. A row that cannot be an event is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from stream.evaluation.columns import ABSENT, Bools, Ints, numbered, numbers, times, whole_numbers
from stream.evaluation.event_log import EventLog, ItemNews, LogError
from stream.wire.event_types import PURCHASE, EventTypes
from stream.wire.messages import Item

CONTENT = ("title", "category", "brand", "price")
COLUMNS = ("user", "item", "time", "type", "session", "period", "quantity", *CONTENT)
DAY_MS = 86_400_000
FIRST_DAY_MS = 1_396_310_400_000  # 2014-04-01: where a log without times begins, on a plausible day
RETURN = "remove"  # what a row of a negative quantity is

DATASETS: Mapping[str, Mapping[str, str]] = {
    "yoochoose": {"user": "session_id", "item": "item_id", "session": "session_id", "period": "period"},
    "retailrocket": {"user": "user_id", "item": "item_id", "time": "timestamp", "session": "session_id"},
    "online-retail": {
        "user": "CustomerID",
        "item": "StockCode",
        "time": "InvoiceDate",
        "session": "InvoiceNo",
        "quantity": "Quantity",
        "title": "Description",
        "price": "UnitPrice",
    },
    "movielens": {"user": "userId", "item": "movieId", "time": "timestamp"},
}
DATASET_TYPES: Mapping[str, str] = {"online-retail": PURCHASE}  # what a row is where no column says it

# Why a row is left out: the words of `alluvium replay`.
MALFORMED, NOT_JSON = "malformed_row", "not_json"
NO_USER, NO_ITEM, NO_TYPE, BAD_TIME, BAD_NUMBER = "no_user", "no_item", "no_type", "bad_time", "bad_number"
BAD_PERIOD = "bad_period"
UNFIT = {  # the column that a reason speaks of, and what it should hold
    NO_TYPE: ("type", "event types"),
    BAD_TIME: ("time", "times"),
    BAD_NUMBER: ("quantity", "numbers other than 0"),
    BAD_PERIOD: ("period", "whole numbers"),
}


def read_log(file: Path, columns: Mapping[str, str], event_types: EventTypes, default_type: str = "click") -> EventLog:
    """Reads a file; `columns` names its columns for `user`, `item`, and any of the other COLUMNS.

    Events are ordered by period, then by time, equal ones as in the file; without a period column a period is a day.
    Without a time column a period is taken for a day and its rows are spread evenly over it; what a user does in a
    period is then one session unless a column says otherwise. A negative quantity is a return (`remove`). What the
    content columns say of an item is heard right after the event in whose row it stands.
    Raises LogError, naming what is wrong, where no row is an event.
    """
    for needed in ("user", "item"):
        if needed not in columns:
            raise LogError(f"no column is named for {needed!r}: --columns user=...,item=...")
    left_out: Counter[str] = Counter()
    table = _read_table(file, list(dict.fromkeys(columns.values())), left_out)
    named = {role: table[name] for role, name in columns.items()}
    rows = _Rows(named, event_types, default_type)
    kept = rows.kept(left_out)
    if len(kept) == 0:
        raise LogError(f"{file} holds no event{_why(left_out, columns)}")
    periods, moments, sessions = rows.periods[kept], rows.times[kept], rows.sessions
    if "time" in columns:
        order = np.lexsort((moments, periods))
        kept, periods, moments = kept[order], periods[order], moments[order]
        if "period" not in columns:
            periods = (moments - moments[0]) // DAY_MS
    else:
        order = np.argsort(periods, kind="stable")
        kept, periods = kept[order], periods[order]
        moments = _spread(periods)
        if sessions is None:  # made-up times tell no pauses
            sessions = np.unique(np.stack([rows.users, rows.periods]), axis=1, return_inverse=True)[1]
    item_ids = rows.item_ids
    news = _news(named, kept, rows.items[kept], item_ids)
    return EventLog(
        rows.user_ids,
        item_ids,
        rows.users[kept],
        rows.items[kept],
        rows.types[kept],
        moments,
        periods,
        None if sessions is None else sessions[kept],
        news,
        dict(left_out),
    )


def read_sequences(file: Path, event_types: EventTypes, default_type: str = "click") -> EventLog:
    """Reads a file of one line a user: `user item item ...` in order of time.

    Such a file knows no clock that users share. All are taken to end together, with a minute between two events: the
    last ones, which are asked for, come after everything else, and the newest of what is learned is nearest to them.
    """
    try:
        with pa.OSFile(str(file)) as raw, _decompressed(raw, file) as stream:
            lines = [line.split() for line in stream.read().decode().splitlines()]
    except (FileNotFoundError, OSError, UnicodeDecodeError) as error:
        raise _unreadable(file, error) from None
    pairs = [(line[0], item) for line in lines if line for item in line[1:]]
    if not pairs:
        raise LogError(f"{file} holds no event: a line is `user item item ...`")
    left = np.array([at for line in lines if line for at in range(len(line) - 1, 0, -1)], np.int64)  # with itself
    users, user_ids = numbered(pa.chunked_array([[user for user, _ in pairs]]))
    items, item_ids = numbered(pa.chunked_array([[item for _, item in pairs]]))
    code = event_types.code(default_type)
    zeros, moments = np.zeros(len(pairs), np.int64), FIRST_DAY_MS + (left.max() - left) * 60_000
    log = EventLog(user_ids, item_ids, users, items, zeros + code, moments, zeros, users)
    return log.take(np.argsort(moments, kind="stable"))


class _Rows:
    """All rows of a table as columns (T,), with what is unreadable marked."""

    def __init__(self, named: Mapping[str, pa.ChunkedArray], event_types: EventTypes, default_type: str) -> None:
        count = len(named["user"])
        self.users, self.user_ids = numbered(named["user"])
        self.items, self.item_ids = numbered(named["item"])
        self.types = _types(named.get("type"), event_types, default_type, count)
        self.times, self.periods = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.sessions = numbered(named["session"])[0] if "session" in named else None
        bad_time = bad_period = bad_number = np.zeros(count, np.bool_)
        if "time" in named:
            self.times, readable = times(named["time"])
            bad_time = ~readable
        if "period" in named:
            self.periods, readable = whole_numbers(named["period"])
            bad_period = ~readable
        if "quantity" in named:
            quantities = numbers(named["quantity"])
            bad_number = ~(np.abs(quantities) > 0)
            self.types = np.where(quantities < 0, event_types.code(RETURN), self.types)
        self._bad: Mapping[str, Bools] = {
            NO_USER: self.users == ABSENT,
            NO_ITEM: self.items == ABSENT,
            BAD_NUMBER: bad_number,
            NO_TYPE: self.types < 0,
            BAD_TIME: bad_time,
            BAD_PERIOD: bad_period,
        }

    def kept(self, left_out: Counter[str]) -> Ints:
        """The rows that are events; the others are counted under the first reason that fits."""
        bad = np.zeros(len(self.users), np.bool_)
        for reason, rows in self._bad.items():
            left_out.update({reason: int(np.count_nonzero(rows & ~bad))})
            bad |= rows
        for reason in [reason for reason, count in left_out.items() if count == 0]:
            del left_out[reason]
        return np.flatnonzero(~bad)


def _news(named: Mapping[str, pa.ChunkedArray], kept: Ints, items: Ints, item_ids: Sequence[str]) -> list[ItemNews]:
    """What content columns tell of the items, in log order, wherever it differs from what was last told."""
    told = {role: named[role] for role in CONTENT if role in named}
    if not told:
        return []
    prices = numbers(told.pop("price"))[kept] if "price" in told else np.zeros(len(kept))
    prices = np.where(prices > 0, prices, 0.0)  # 0 stands for unknown
    texts = {role: numbered(column) for role, column in told.items()}
    codes = [found[kept] for found, _ in texts.values()]
    order = np.argsort(items, kind="stable")
    changed = np.ones(len(kept), np.bool_)
    same = items[order][1:] == items[order][:-1]
    for column in (prices, *codes):
        same &= column[order][1:] == column[order][:-1]
    changed[order[1:]] = ~same
    news = []
    for at in np.flatnonzero(changed).tolist():
        said: dict[str, Any] = {
            role: names[found[kept[at]]] for role, (found, names) in texts.items() if found[kept[at]] >= 0
        }
        if prices[at] or said:
            item_id = item_ids[items[at]]
            news.append(ItemNews(at + 1, item_id, Item(item_id, price=float(prices[at]) or None, **said)))
    return news


def _types(column: pa.ChunkedArray | None, event_types: EventTypes, default: str, count: int) -> Ints:
    if column is None:
        return np.full(count, event_types.code(default), np.int64)
    codes, names = numbered(column)
    known = [
        event_types.code(event_types.canonical(name) or event_types.canonical(name.lower()) or "") for name in names
    ]
    return np.array([*known, ABSENT], np.int64)[codes]


def _read_table(file: Path, wanted: Sequence[str], left_out: Counter[str]) -> pa.Table:
    kind = file.name.removesuffix(".gz").rpartition(".")[2].lower()
    try:
        if kind == "parquet":
            _check_columns(file, wanted, pyarrow.parquet.read_schema(file).names)
            return pyarrow.parquet.read_table(file, columns=list(wanted))
        if kind in {"jsonl", "json", "ndjson"}:
            return _read_json_lines(file, wanted, left_out)
        return _read_text(file, wanted, "\t" if kind == "tsv" else ",", left_out)
    except (FileNotFoundError, pa.ArrowInvalid, OSError, EOFError) as error:
        raise _unreadable(file, error) from None


def _read_text(file: Path, wanted: Sequence[str], delimiter: str, left_out: Counter[str]) -> pa.Table:
    """All as text: what a column holds is for us to say, not for its first rows."""

    def skip(_row: object) -> str:
        left_out[MALFORMED] += 1
        return "skip"

    parse = pyarrow.csv.ParseOptions(delimiter=delimiter, invalid_row_handler=skip)
    convert = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(wanted, pa.string()), check_utf8=False)
    with pa.OSFile(str(file)) as raw, _decompressed(raw, file) as stream:
        names = pyarrow.csv.open_csv(stream, parse_options=parse).schema.names
    _check_columns(file, wanted, names)
    left_out.clear()
    convert.include_columns = list(wanted)
    with pa.OSFile(str(file)) as raw, _decompressed(raw, file) as stream:
        return pyarrow.csv.read_csv(stream, parse_options=parse, convert_options=convert)


def _read_json_lines(file: Path, wanted: Sequence[str], left_out: Counter[str]) -> pa.Table:
    decoder = msgspec.json.Decoder(dict[str, Any])
    columns: dict[str, list[str | None]] = {name: [] for name in wanted}
    names: dict[str, None] = {}
    with pa.OSFile(str(file)) as raw, _decompressed(raw, file) as stream:
        for line in _lines(stream.read()):
            try:
                row = decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                left_out[NOT_JSON] += 1
                continue
            names.update(dict.fromkeys(row))
            for name, values in columns.items():
                value = row.get(name)
                values.append(None if value is None else str(value))
    if names:
        _check_columns(file, wanted, list(names))
    return pa.table({name: pa.chunked_array([pa.array(values, pa.string())]) for name, values in columns.items()})


def _lines(text: bytes) -> Iterable[bytes]:
    return (line for line in text.splitlines() if line.strip())


def _check_columns(file: Path, wanted: Sequence[str], names: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise LogError(f"{file} has no column {missing[0]!r}; it has {', '.join(names)}")


def _decompressed(raw: pa.NativeFile, file: Path) -> pa.NativeFile:
    return pa.CompressedInputStream(raw, "gzip") if file.suffix == ".gz" else raw


def _unreadable(file: Path, error: Exception) -> LogError:
    if isinstance(error, FileNotFoundError):
        return LogError(f"{file} does not exist")
    return LogError(f"{file} cannot be read: {error}")


def _why(left_out: Mapping[str, int], columns: Mapping[str, str]) -> str:
    """Why nothing was left, in words where one column is to blame."""
    if not left_out:
        return ""
    counts = ", ".join(f"{count:,} rows ({reason})" for reason, count in left_out.items())
    role, what = UNFIT.get(max(left_out, key=left_out.__getitem__), ("", ""))
    blame = f"; column {columns[role]!r} is not made of {what}" if role in columns else ""
    return f"{blame}; left out were {counts}"


def _spread(periods: Ints) -> Ints:
    """Times for rows without any: a period is a day, its rows evenly over 24 hours. `periods` are sorted."""
    names, first, which, sizes = np.unique(periods, return_index=True, return_inverse=True, return_counts=True)
    into_the_day = (np.arange(len(periods)) - first[which]) * DAY_MS // sizes[which]
    return np.asarray(FIRST_DAY_MS + names[which] * DAY_MS + into_the_day, np.int64)
