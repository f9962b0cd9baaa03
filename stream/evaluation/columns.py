"""Columns of a file as ids, times and numbers. What cannot be read is marked, never raised."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream.wire.times import read_time

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
NOTHING = {"", "NA", "NaN", "nan", "None", "null", "NULL"}
WHOLE = re.compile(r"(\d+)\.0*")  # an id that a spreadsheet took for a number: 17850.0 is 17850
ABSENT = -1


def numbered(column: pa.ChunkedArray) -> tuple[Ints, list[str]]:
    """Ids as numbers (T,), ABSENT where there is none, and the texts that they stand for."""
    codes, texts = _distinct(column)
    found: dict[str, int] = {}
    new = [ABSENT if text in NOTHING else found.setdefault(_whole(text), len(found)) for text in texts]
    return np.array([*new, ABSENT], np.int64)[codes], list(found)


def times(column: pa.ChunkedArray) -> tuple[Ints, Bools]:
    """Epoch milliseconds of timestamps, ISO 8601 texts or epochs, and which could be read."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return _filled(
            pc.cast(pc.cast(column, pa.timestamp("ms", column.type.tz if _zoned(column) else None)), "int64")
        )
    return _each_text(column, read_time)


def whole_numbers(column: pa.ChunkedArray) -> tuple[Ints, Bools]:
    """Whole numbers, and which could be read."""
    return _each_text(column, lambda text: int(text) if text.lstrip("-").isdigit() else None)


def numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Numbers (T,), NaN where there is none."""
    codes, texts = _distinct(column)
    return np.array([*map(_number, texts), np.nan])[codes]


def _distinct(column: pa.ChunkedArray) -> tuple[Ints, list[str]]:
    """For each entry the place of its text (the last place for a missing one) among the distinct texts."""
    text = column if pa.types.is_string(column.type) else pc.cast(_without_needless_points(column), pa.string())
    text = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
    encoded = text.dictionary_encode()
    texts = [_decoded(name) for name in pc.cast(encoded.dictionary, pa.binary()).to_pylist()]
    codes = pc.fill_null(encoded.indices, len(texts)).to_numpy(zero_copy_only=False)
    return np.asarray(codes, np.int64), texts


def _decoded(text: bytes) -> str:
    """UTF-8, or what Western spreadsheets write instead."""
    try:
        return text.decode().strip()
    except UnicodeDecodeError:
        return text.decode("cp1252", "replace").strip()


def _without_needless_points(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Whole numbers that became floating-point ones because some are missing."""
    if pa.types.is_floating(column.type):
        try:
            return pc.cast(column, pa.int64())
        except pa.ArrowInvalid:
            pass
    return column


def _each_text(column: pa.ChunkedArray, read: Callable[[str], int | None]) -> tuple[Ints, Bools]:
    codes, texts = _distinct(column)
    found: list[Any] = [_within(read(text)) for text in texts]
    readable = np.array([*(value is not None for value in found), False], np.bool_)
    return np.array([*(value or 0 for value in found), 0], np.int64)[codes], readable[codes]


def _within(value: int | None) -> int | None:
    """Nothing for what is beyond 64 bits, with room for sums."""
    return value if value is not None and abs(value) < 2**62 else None


def _filled(column: pa.ChunkedArray) -> tuple[Ints, Bools]:
    valid = np.asarray(pc.is_valid(column).to_numpy(zero_copy_only=False), np.bool_)
    return np.asarray(pc.fill_null(column, 0).to_numpy(), np.int64), valid


def _zoned(column: pa.ChunkedArray) -> bool:
    return pa.types.is_timestamp(column.type) and column.type.tz is not None


def _whole(text: str) -> str:
    match = WHOLE.fullmatch(text)
    return match[1] if match else text


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        return np.nan
    return found if np.isfinite(found) else np.nan
