"""Rows of a file as mappings from column to value: CSV, TSV and their kin, Parquet, JSON Lines, gzip or not."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

DELIMITERS = ("\t", "::", ";", ",")  # the first that splits the first line wins; titles hold commas, hardly the others
SNIFF_BYTES = 1 << 20
LOT = 5_000  # rows read together
LOT_BYTES = 1 << 19  # of a text file, read together
QUOTE, BOM = b'"', b"\xef\xbb\xbf"
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
    columns: Sequence[pa.StringArray]

    def rows(self) -> Iterator[Row]:
        """The same, row by row."""
        for line, record in enumerate(zip(*(texts.to_pylist() for texts in self.columns), strict=True), self.line):
            yield line, dict(zip(self.names, record, strict=True))

    def named(self) -> dict[str, pa.StringArray]:
        """The columns by name."""
        return dict(zip(self.names, self.columns, strict=True))


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
        self._by_lines = True  # whether what ends with a line feed is a line
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
            return self._text_lots(columns) if self._by_lines else self._plain_text_lots(columns)
        return _in_lots(self._parquet_rows() if self.kind == "parquet" else self._json_rows())

    def counts(self, column: str) -> Counter[str]:
        """How many rows have each text, without spaces around it, in a column of a file with a header."""
        found: Counter[str] = Counter()
        for lot in self.lots():
            if isinstance(lot, Block):
                for counted in pc.value_counts(lot.named()[column]).to_pylist():
                    found[counted["values"].strip()] += counted["counts"]
            else:
                found.update(str(row[column]).strip() for _line, row in lot if not isinstance(row, RowProblem))
        return found

    def _sniff(self) -> None:
        with _opened(self.path) as (stream, _raw):
            start = stream.read(SNIFF_BYTES)
        try:
            start.decode("utf-8")
        except UnicodeDecodeError as error:
            if error.start < len(start) - 4:  # not merely a character cut in two
                self._encoding = "cp1252"
        self._by_lines = not _has_other_ends(start)
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
        with _opened(self.path) as (stream, raw):
            line, names, encoding = 0, list(columns or ()), self._encoding.removesuffix("-sig")
            if self._encoding != "utf-8-sig" or stream.read(len(BOM)) != BOM:
                stream.seek(0)
            if columns is None:
                header = self._records(read.decode(encoding, "replace") for read in iter(stream.readline, b""))
                names = [name.strip() for name in next(header, [])]
                line = header.line_num
            while read := stream.read(LOT_BYTES):
                read += b"" if read.endswith(b"\n") else stream.readline()
                self.bytes_read = raw.tell()
                lines = io.StringIO(read.decode(encoding, "replace"), newline="")
                if QUOTE in read or _has_other_ends(read):  # from here on a row may have several lines
                    rest = io.TextIOWrapper(stream, encoding, errors="replace", newline="")
                    for lot in _in_lots(self._text_rows(itertools.chain(lines, rest), names, line)):
                        self.bytes_read = raw.tell()
                        yield lot
                    return
                block = self._block(read, names, line)
                if block is None:
                    yield from _in_lots(self._text_rows(lines, names, line))
                else:
                    yield block
                line += read.count(b"\n")

    def _plain_text_lots(self, columns: Sequence[str] | None) -> Iterator[list[Row]]:
        """Row by row from the beginning, whatever ends the lines."""
        with _opened(self.path) as (stream, raw):
            text = io.TextIOWrapper(stream, self._encoding, errors="replace", newline="")
            line, names = 0, list(columns or ())
            if columns is None:
                header = self._records(text)
                names = [name.strip() for name in next(header, [])]
                line = header.line_num
            for lot in _in_lots(self._text_rows(text, names, line)):
                self.bytes_read = raw.tell()
                yield lot

    def _block(self, read: bytes, names: Sequence[str], line: int) -> Block | None:
        """Lines without quotes as a block, None when one of them is no row, or when they are not what is usual."""
        ends = np.flatnonzero(np.frombuffer(read, np.uint8) == ord("\n"))
        lines = len(ends) + (not read.endswith(b"\n"))
        longest = int(np.diff(ends, prepend=-1, append=len(read)).max())
        usual = (read.isascii() or self._encoding.startswith("utf-8")) and not read.startswith(BOM)
        if not (usual and names and len(self._delimiter) == 1 and longest <= csv.field_size_limit()):
            return None
        types = {str(number): pa.string() for number in range(len(names))}
        try:
            table = pa.csv.read_csv(
                pa.BufferReader(read),
                pa.csv.ReadOptions(use_threads=False, block_size=len(read) + 1, column_names=[*types]),
                pa.csv.ParseOptions(delimiter=self._delimiter, quote_char=False),
                pa.csv.ConvertOptions(column_types=types),
            )
        except pa.ArrowInvalid:
            return None
        columns = [texts.combine_chunks() for texts in table.columns]
        return Block(line + 1, names, columns) if table.num_rows == lines else None

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


def _has_other_ends(read: bytes) -> bool:
    """Whether a carriage return stands elsewhere than before a line feed."""
    return read.count(b"\r") != read.count(b"\r\n")


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
