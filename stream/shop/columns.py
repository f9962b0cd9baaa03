"""Columns of texts in which each distinct text stands once: what is said of it is worked out once, not row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stream.wire.times import EPOCH_UNITS

Ints = npt.NDArray[np.int64]

MILLISECONDS = b"0000-00-00T00:00:00.000Z"  # the shape of a time as many logs write it
BEYOND_INT64 = 2.0**63


def _characters(allowed: bytes) -> npt.NDArray[np.bool_]:
    return np.isin(np.arange(256), np.frombuffer(allowed, np.uint8))


_DIGITS = b"0123456789"
_PLAIN = _characters(_DIGITS + b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-:#")
_NUMERIC = _characters(_DIGITS + b".")


class Column(NamedTuple):
    """Texts by row: `texts[codes]`. All of them are `plain` where they hold no space, point, quote or anything rare."""

    codes: npt.NDArray[np.int32]  # (rows,)
    texts: pa.StringArray  # (distinct,), none null
    plain: bool

    def take(self, rows: Any) -> Column:  # noqa: ANN401  (all that indexes an array)
        """The texts of some rows."""
        return self._replace(codes=self.codes[rows])

    def mapped(self, function: Callable[[str], str]) -> Column:
        """What `function` makes of each text."""
        texts = pa.array(map(function, self.texts.to_pylist()), pa.string())
        return Column(self.codes, texts, _only(texts, _PLAIN))

    def array(self) -> pa.StringArray:
        """The texts row by row."""
        return self.texts.take(pa.array(self.codes))

    def json(self) -> pa.StringArray:
        """The same as JSON, row by row."""
        if self.plain:
            texts = pc.binary_join_element_wise('"', self.texts, '"', "")
        else:
            texts = pa.array([msgspec.json.encode(text).decode() for text in self.texts.to_pylist()], pa.string())
        return texts.take(pa.array(self.codes))

    def longest(self) -> str:
        """The longest of the texts, which are one at least."""
        return str(self.texts[int(np.argmax(pc.binary_length(self.texts)))])


def column(texts: pa.StringArray) -> Column:
    """Texts as a column."""
    coded = texts.dictionary_encode()
    return Column(coded.indices.to_numpy(), coded.dictionary, _only(coded.dictionary, _PLAIN))


def constant(text: str, rows: int) -> Column:
    """The same text in every row."""
    texts = pa.array([text], pa.string())
    return Column(np.zeros(rows, np.int32), texts, _only(texts, _PLAIN))


def plain_moments(texts: pa.StringArray) -> Ints | None:
    """Epoch milliseconds of epochs in digits, or of times such as `2014-04-02T11:17:46.940Z`, as `read_time` says it.

    None where a text is neither.
    """
    if _only(texts, _NUMERIC):
        return _epochs(texts)
    lengths = pc.min_max(pc.binary_length(texts)).as_py()
    return _iso(texts) if lengths == {"min": len(MILLISECONDS), "max": len(MILLISECONDS)} else None


def _epochs(texts: pa.StringArray) -> Ints | None:
    try:
        epochs = np.asarray(texts.cast(pa.float64()))
    except pa.ArrowInvalid:
        return None
    if not np.isfinite(epochs).all():
        return None
    limits, factors = zip(*EPOCH_UNITS, strict=True)
    moments = np.rint(epochs * np.array(factors)[np.searchsorted(limits, epochs, side="right")])
    return moments.astype(np.int64) if moments.max(initial=0.0) < BEYOND_INT64 else None


def _iso(texts: pa.StringArray) -> Ints | None:
    written = _bytes(texts).reshape(len(texts), len(MILLISECONDS))
    shape = np.frombuffer(MILLISECONDS, np.uint8)
    digits = shape == ord("0")
    if not (_characters(_DIGITS)[written[:, digits]].all() and (written[:, ~digits] == shape[~digits]).all()):
        return None
    try:
        moments = np.asarray(texts.cast(pa.timestamp("ms", "UTC")).cast(pa.int64()))
    except pa.ArrowInvalid:
        return None
    return moments if moments.min(initial=0) >= 0 else None  # rarities of the calendar are left to others


def _only(texts: pa.StringArray, allowed: npt.NDArray[np.bool_]) -> bool:
    return bool(allowed[_bytes(texts)].all())


def _bytes(texts: pa.StringArray) -> npt.NDArray[np.uint8]:
    """All texts, one after the other."""
    _validity, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] if data is not None else np.zeros(0, np.uint8)
