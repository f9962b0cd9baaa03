"""Rows of a file as mappings from column to value: CSV, TSV and their kin, Parquet, JSON Lines, gzip or not."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import msgspec
import pyarrow.parquet

DELIMITERS = ("\t", "::", ";", ",")  # the first that splits the first line wins; titles hold commas, hardly the others
SNIFF_BYTES = 1 << 20
LOT = 5_000  # rows read together
QUOTE = '"'
Fields = Mapping[str, Any]


class RowProblem(msgspec.Struct, frozen=True):
    """Why a row cannot be an event: a stable reason to count by, and the particulars."""

    reason: str
    detail: str = ""


Row = tuple[int, Fields | RowProblem]  # with its line


class Block(NamedTuple):
    """Rows on consecutive lines, as columns of texts: (names), (rows)."""

    line: int  # of the first
    names: Sequence[str]
    columns: Sequence[Sequence[str]]

    def rows(self) -> Iterator[Row]:
        """The same, row by row."""
        for line, record in enumerate(zip(*self.columns, strict=True), self.line):
            yield line, dict(zip(self.names, record, strict=True))


MALFORMED = "malformed_row"
NOT_JSON = "not_json"


class RowFile:
    """A file of rows. `first` is its first row as a list of strings, from which a layout may be recognised.

    Raises FileNotFoundError, and ValueError for a file that cannot be what its name says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kind = _kind(path)
        self.bytes = path.stat().st_size
        self.bytes_read = 0
        self.first: list[str] = []
        self._delimiter = ","
        self._encoding = "utf-8-sig"
        if self.kind == "text":
            self._sniff()
        elif self.kind == "parquet":
            self.first = list(pyarrow.parquet.read_schema(path).names)
        else:
            with _opened(path) as (stream, _raw):
                self.first = _json_names(stream.readline())

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[Row]:
        """Each row with its line number (Parquet: row number), both from 1 as an editor counts.

        `columns` names the columns of a text file without a header; otherwise the first line does.
        """
        for lot in self.lots(columns):
            yield from lot.rows() if isinstance(lot, Block) else lot

    def lots(self, columns: Sequence[str] | None = None) -> Iterator[Block | list[Row]]:
        """The same in lots, those of a text file as columns wherever a line is a row and all have their columns."""
        if self.kind == "text":
            return self._text_lots(columns)
        return _in_lots(self._parquet_rows() if self.kind == "parquet" else self._json_rows())

    def counts(self, column: str) -> Counter[str]:
        """How many rows have each text, without spaces around it, in a column of a file with a header."""
        if self.kind == "text":
            with suppress(csv.Error), self._text() as (text, _raw):
                records = self._records(text)
                names = [name.strip() for name in next(records, [])]
                whole = (record for record in records if len(record) == len(names))
                found: Counter[str] = Counter()
                for value, count in Counter(map(itemgetter(names.index(column)), whole)).items():
                    found[value.strip()] += count
                return found
        rows = (row for _line, row in self.rows() if not isinstance(row, RowProblem))
        return Counter(str(row[column]).strip() for row in rows)

    def _sniff(self) -> None:
        with _opened(self.path) as (stream, _raw):
            start = stream.read(SNIFF_BYTES)
        try:
            start.decode("utf-8")
        except UnicodeDecodeError as error:
            if error.start < len(start) - 4:  # not merely a character cut in two
                self._encoding = "cp1252"
        line = start.decode(self._encoding, "replace").partition("\n")[0]
        self._delimiter = next((mark for mark in DELIMITERS if mark in line), ",")
        self.first = next(self._records(io.StringIO(line)), [])

    def _records(self, text: Iterable[str]) -> Any:  # noqa: ANN401  (csv's reader type is private)
        if len(self._delimiter) == 1:
            return csv.reader(text, delimiter=self._delimiter)
        return csv.reader(
            (line.replace(self._delimiter, "\t") for line in text), delimiter="\t", quoting=csv.QUOTE_NONE
        )

    def _text_lots(self, columns: Sequence[str] | None) -> Iterator[Block | list[Row]]:
        with self._text() as (text, raw):
            line, names = 0, list(columns or ())
            if columns is None:
                header = self._records(text)
                names = [name.strip() for name in next(header, [])]
                line = header.line_num
            while lines := list(itertools.islice(text, LOT)):
                self.bytes_read = raw.tell()
                if QUOTE in "".join(lines):  # from here on a row may have several lines
                    for lot in _in_lots(self._text_rows(itertools.chain(lines, text), names, line)):
                        self.bytes_read = raw.tell()
                        yield lot
                else:
                    yield self._block(lines, names, line) or list(self._text_rows(lines, names, line))
                line += len(lines)

    def _block(self, lines: list[str], names: Sequence[str], line: int) -> Block | None:
        """Lines as a block, None when one of them is no row."""
        try:
            records = list(self._records(lines))
        except csv.Error:
            return None
        whole = set(map(len, records)) == {len(names)}
        return Block(line + 1, names, tuple(zip(*records, strict=True))) if whole else None

    def _text_rows(self, lines: Iterable[str], names: Sequence[str], line: int) -> Iterator[Row]:
        records = self._records(lines)
        while True:
            try:
                record = next(records)
            except StopIteration:
                return
            except csv.Error as error:
                yield line + records.line_num, RowProblem(MALFORMED, str(error))
                continue
            if len(record) == len(names):
                yield line + records.line_num, dict(zip(names, record, strict=True))
            elif record:
                yield line + records.line_num, RowProblem(MALFORMED, f"{len(record)} columns, not {len(names)}")

    @contextmanager
    def _text(self) -> Iterator[tuple[IO[str], IO[bytes]]]:
        with _opened(self.path) as (stream, raw):
            yield io.TextIOWrapper(stream, self._encoding, errors="replace", newline=""), raw

    def _json_rows(self) -> Iterator[Row]:
        decoder = msgspec.json.Decoder(dict[str, Any])
        with _opened(self.path) as (stream, raw):
            for number, line in enumerate(stream, 1):
                if number % LOT == 0:
                    self.bytes_read = raw.tell()
                if not line.strip():
                    continue
                try:
                    yield number, decoder.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    yield number, RowProblem(NOT_JSON, str(error))
            self.bytes_read = raw.tell()

    def _parquet_rows(self) -> Iterator[Row]:
        with pyarrow.parquet.ParquetFile(self.path) as file:
            total, number = max(1, file.metadata.num_rows), 0
            for batch in file.iter_batches(batch_size=10_000):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
                self.bytes_read = self.bytes * number // total


def _in_lots(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while lot := list(itertools.islice(rows, LOT)):
        yield lot


def looks_like_names(fields: Sequence[str]) -> bool:
    """Whether a first row is a header: every field begins like a word."""
    return all(re.match(r"\s*[A-Za-z_]", field) for field in fields)


def _kind(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    last = suffixes[-1] if suffixes else ""
    if last in (".parquet", ".pq"):
        return "parquet"
    return "jsonl" if last in (".jsonl", ".ndjson", ".json") else "text"


def _json_names(line: bytes) -> list[str]:
    try:
        return list(msgspec.json.decode(line, type=dict[str, Any]))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    with path.open("rb") as raw:
        if raw.read(2) == b"\x1f\x8b":
            raw.seek(0)
            with gzip.open(raw, "rb") as stream:
                yield cast("IO[bytes]", stream), raw
        else:
            raw.seek(0)
            yield raw, raw
