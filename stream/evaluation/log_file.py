"""A log from a file, as columns in the file's order: CSV or TSV (gzip or not), Parquet, JSON Lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from stream.wire.event_types import EventTypes

COLUMNS = ("user", "item", "time", "type", "session", "period")
DAY_MS = 86_400_000
FIRST_DAY_MS = 1_396_310_400_000  # 2014-04-01: where a log without times begins, on a plausible day

DATASETS: Mapping[str, Mapping[str, str]] = {
    "yoochoose": {"user": "session_id", "item": "item_id", "session": "session_id", "period": "period"},
    "retailrocket": {"user": "user_id", "item": "item_id", "time": "timestamp", "session": "session_id"},
    "online-retail": {"user": "CustomerID", "item": "StockCode", "time": "InvoiceDate"},
    "movielens": {"user": "userId", "item": "movieId", "time": "timestamp"},
}
DATASET_TYPES: Mapping[str, str] = {"online-retail": "purchase"}  # what a row is where no column says it


class LogFileError(ValueError):
    """A file cannot be read as a log. Operator action: correct `--columns` or the file, as the message says."""


@dataclass(frozen=True)
class EventLog:
    """T events: numbers `users`, `items` into `user_ids`, `item_ids`; `types` codes, `times` (ms), `periods` (T,).

    `sessions` are numbers of sessions, None where the log does not tell them.
    """

    user_ids: list[str]
    item_ids: list[str]
    users: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    types: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]
    periods: npt.NDArray[np.int64]
    sessions: npt.NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.items)

    def until_period(self, last: int) -> EventLog:
        """Without the events of later periods."""
        return self.take(np.flatnonzero(self.periods <= last))

    def take(self, order: npt.NDArray[np.int64]) -> EventLog:
        """The events at these positions, in this order."""
        return EventLog(
            self.user_ids,
            self.item_ids,
            self.users[order],
            self.items[order],
            self.types[order],
            self.times[order],
            self.periods[order],
            None if self.sessions is None else self.sessions[order],
        )


def read_log(file: Path, columns: Mapping[str, str], event_types: EventTypes, default_type: str = "click") -> EventLog:
    """Reads a file; `columns` names its columns for `user`, `item`, and any of `time`, `type`, `session`, `period`.

    Rows without a user or an item are left out, so are rows of unknown event types. With a time column the events are
    ordered by it, equal times in the file's order; without one, a period is taken for a day and its rows are spread
    evenly over it.
    Raises LogFileError, naming what is wrong.
    """
    for needed in ("user", "item"):
        if needed not in columns:
            raise LogFileError(f"no column is named for {needed!r}: --columns user=...,item=...")
    table = _read_table(file)
    missing = [name for name in columns.values() if name not in table.column_names]
    if missing:
        raise LogFileError(f"{file} has no column {missing[0]!r}; it has {', '.join(table.column_names)}")
    texts = {role: _texts(table[columns[role]]) for role in ("user", "item")}
    types = _types(table, columns, event_types, default_type)
    kept = np.flatnonzero(_filled(texts["user"]) & _filled(texts["item"]) & (types >= 0))
    periods = _integers(table[columns["period"]], columns["period"]) if "period" in columns else None
    if "time" in columns:
        times = _times(table[columns["time"]], columns["time"])[kept]
        order = np.argsort(times, kind="stable")
        kept, times = kept[order], times[order]
    else:
        times = _spread(np.zeros(len(kept), np.int64) if periods is None else periods[kept])
    users, user_ids = _numbers(texts["user"], kept)
    items, item_ids = _numbers(texts["item"], kept)
    days = (times - times[0]) // DAY_MS if periods is None and len(times) else np.zeros(len(times), np.int64)
    sessions = _numbers(pc.fill_null(_texts(table[columns["session"]]), ""), kept)[0] if "session" in columns else None
    return EventLog(
        user_ids, item_ids, users, items, types[kept], times, days if periods is None else periods[kept], sessions
    )


def read_sequences(file: Path, event_types: EventTypes, default_type: str = "click") -> EventLog:
    """Reads a file of one line a user: `user item item ...` in order of time."""
    with pa.OSFile(str(file)) as raw, _decompressed(raw, file) as stream:
        lines = [line.split() for line in stream.read().decode().splitlines()]
    pairs = [(line[0], item) for line in lines if line for item in line[1:]]
    place = np.array([at for line in lines if line for at in range(len(line) - 1)], np.int64)
    users, user_ids = _numbers(pa.array([user for user, _ in pairs]), np.arange(len(pairs)))
    items, item_ids = _numbers(pa.array([item for _, item in pairs]), np.arange(len(pairs)))
    code = event_types.code(default_type)
    zeros = np.zeros(len(pairs), np.int64)
    return EventLog(user_ids, item_ids, users, items, zeros + code, FIRST_DAY_MS + place * 60_000, zeros, users)


def _decompressed(raw: pa.NativeFile, file: Path) -> pa.NativeFile:
    return pa.CompressedInputStream(raw, "gzip") if file.suffix == ".gz" else raw


def _read_table(file: Path) -> pa.Table:
    kind = file.name.removesuffix(".gz").rpartition(".")[2].lower()
    try:
        if kind == "parquet":
            return pyarrow.parquet.read_table(file)
        with pa.OSFile(str(file)) as raw, _decompressed(raw, file) as stream:
            if kind in {"jsonl", "json", "ndjson"}:
                return pyarrow.json.read_json(stream)
            parse = pyarrow.csv.ParseOptions(delimiter="\t" if kind == "tsv" else ",")
            return pyarrow.csv.read_csv(stream, parse_options=parse)
    except FileNotFoundError:
        raise LogFileError(f"{file} does not exist") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise LogFileError(f"{file} cannot be read: {error}") from None


def _texts(column: pa.ChunkedArray) -> pa.Array:
    text = pc.cast(column, pa.string()) if not pa.types.is_floating(column.type) else _whole_numbers(column)
    return text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text


def _whole_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids that became floating-point numbers because some are missing: 17850.0 is 17850."""
    try:
        return pc.cast(pc.cast(column, pa.int64()), pa.string())
    except pa.ArrowInvalid:
        return pc.cast(column, pa.string())


def _filled(text: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.fill_null(pc.greater(pc.utf8_length(text), 0), False).to_numpy(zero_copy_only=False), np.bool_)


def _integers(column: pa.ChunkedArray, name: str) -> npt.NDArray[np.int64]:
    try:
        return np.asarray(pc.cast(column, pa.int64()).to_numpy(), np.int64)
    except (pa.ArrowInvalid, ValueError) as error:
        raise LogFileError(f"column {name!r} is not made of whole numbers: {error}") from None


def _times(column: pa.ChunkedArray, name: str) -> npt.NDArray[np.int64]:
    """Epoch milliseconds of ISO 8601 texts, timestamps, or numbers (seconds below 10^11, else milliseconds)."""
    kind = column.type
    try:
        if pa.types.is_string(kind):
            column = pc.cast(column, pa.timestamp("ms"))
        elif not pa.types.is_timestamp(kind) and not pa.types.is_date(kind):
            numbers = np.asarray(pc.cast(column, pa.float64()).to_numpy(), np.float64)
            return np.where(np.abs(numbers) < 1e11, numbers * 1_000, numbers).astype(np.int64)
        return np.asarray(pc.cast(pc.cast(column, pa.timestamp("ms")), pa.int64()).to_numpy(), np.int64)
    except (pa.ArrowInvalid, ValueError) as error:
        raise LogFileError(f"column {name!r} is not made of times: {error}") from None


def _types(table: pa.Table, columns: Mapping[str, str], event_types: EventTypes, default: str) -> npt.NDArray[np.int64]:
    if "type" not in columns:
        return np.full(table.num_rows, event_types.code(default), np.int64)
    encoded = _texts(table[columns["type"]]).dictionary_encode()
    codes = [event_types.code(event_types.canonical(name) or "") for name in encoded.dictionary.to_pylist()]
    at = np.asarray(pc.fill_null(encoded.indices, len(codes)).to_numpy(zero_copy_only=False), np.int64)
    return np.array([*codes, -1], np.int64)[at]


def _spread(periods: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Times for rows without any: a period is a day, its rows evenly over 24 hours in the file's order."""
    times = np.empty(len(periods), np.int64)
    for period in np.unique(periods).tolist():
        rows = np.flatnonzero(periods == period)
        times[rows] = FIRST_DAY_MS + period * DAY_MS + np.arange(len(rows)) * DAY_MS // len(rows)
    return times


def _numbers(texts: pa.Array, kept: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Numbers in order of first appearance, and the texts that they stand for."""
    encoded = texts.take(pa.array(kept)).dictionary_encode()
    return np.asarray(encoded.indices.to_numpy(), np.int64), encoded.dictionary.to_pylist()
