"""The rows that lists are made from: a snapshot's own and, behind them, those of newer items; which may be listed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from indexing.arrays import joined
from indexing.histories import Int32s, Int64s
from models.vocabulary import UNKNOWN, Vocabulary
from stream.knowledge.catalogue import Catalogue, Column, asks_for_attributes
from stream.wire.messages import Filters

Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

TAKEN_AT_ONCE = 10_000  # ids, so that other threads have their turns
ESCAPED = np.isin(np.arange(256), [*range(0x20), *b'"\\'])  # bytes that JSON writes otherwise


class ItemTexts:
    """The ids of a growing list of items in UTF-8, one behind the other, for compiled loops."""

    def __init__(self) -> None:
        self._texts = Column(np.uint8)
        self._starts = Column(np.int64, [0])
        self._plain = Column(np.bool_)
        self._waiting: list[str] = []

    def append(self, item_id: str) -> None:
        """Adds an id at the end."""
        self._waiting.append(item_id)

    def extend(self, item_ids: Sequence[str]) -> None:
        """Adds ids at the end."""
        self._settle()
        for first in range(0, len(item_ids), TAKEN_AT_ONCE):
            encoded = [item_id.encode() for item_id in item_ids[first : first + TAKEN_AT_ONCE]]
            texts, starts = joined(encoded)
            escaped = np.cumsum(np.append(False, ESCAPED[texts]), dtype=np.int64)[starts]
            self._starts.extend(starts[1:] + len(self._texts))
            self._texts.extend(texts)
            self._plain.extend(np.diff(escaped) == 0)

    @property
    def columns(self) -> tuple[tuple[Bytes, Int64s], Bools]:
        """All ids and where each begins, (N + E + 1,), and whether JSON has them as they are, (N + E,)."""
        self._settle()
        return (self._texts.values, self._starts.values), self._plain.values

    def _settle(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self.extend(waiting)


class ServedItems:
    """Item ids, rows and masks over a vocabulary of N items and E newer ones (rows N..N+E-1)."""

    def __init__(self, vocabulary: Vocabulary, catalogue: Catalogue) -> None:
        self.vocabulary = vocabulary
        self.catalogue = catalogue
        self.newer: list[str] = []
        self._ids = vocabulary.ids.copy()
        self.texts = ItemTexts()  # the ids of all rows
        self.texts.extend(self._ids)
        self._newer_rows: dict[str, int] = {}
        numbers = np.fromiter(map(catalogue.number, vocabulary.ids), np.int32, len(vocabulary))
        self._numbers = Column(np.int32, numbers)
        self._keys = Column(np.int64, np.arange(len(vocabulary)))
        self._available = Column(np.bool_, np.append(catalogue.matching(Filters()), True)[numbers])
        self._add([item_id for item_id in catalogue.ids() if item_id not in vocabulary.rows])

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def available(self) -> Bools:
        """Which rows may be listed at all, (N + E,); not to be kept."""
        return self._available.values

    @property
    def keys(self) -> npt.NDArray[np.int64]:
        """The order of rows with equal scores, (N + E,): newer ones by a digest of their ids, whenever they came."""
        return self._keys.values

    def row(self, item_id: str) -> int:
        """The row of an item, -1 when it has none."""
        row = self.vocabulary.rows.get(item_id, UNKNOWN)
        return self._newer_rows.get(item_id, UNKNOWN) if row < 0 else row

    def newer_row(self, item_id: str) -> int:
        """The row of an item newer than the vocabulary, -1 when there is none."""
        return self._newer_rows.get(item_id, UNKNOWN)

    def names(self, rows: Iterable[int]) -> list[str]:
        """The ids of rows."""
        return [*map(self._ids.__getitem__, rows)]

    def refresh(self, item_id: str) -> int:
        """Takes over what the catalogue now says of an item, giving it a row where it has none; returns the row."""
        row, number = self.row(item_id), self.catalogue.number(item_id)
        if row < 0:
            row = len(self)
            self._newer_rows[item_id] = row
            self.newer.append(item_id)
            self._ids.append(item_id)
            self.texts.append(item_id)
            self._numbers.append(number)
            self._keys.append(len(self.vocabulary) + _digest(item_id))
            self._available.append(number < 0 or self.catalogue.available(number))
        else:
            self._numbers[row] = number
            self._available[row] = number < 0 or self.catalogue.available(number)
        return row

    def _add(self, item_ids: list[str]) -> None:
        """Gives rows to items of the catalogue that have none: what `refresh` does, for very many."""
        size = len(self)
        self._newer_rows.update(zip(item_ids, range(size, size + len(item_ids)), strict=True))
        self.newer += item_ids
        self._ids += item_ids
        self.texts.extend(item_ids)
        numbers = np.fromiter(map(self.catalogue.number, item_ids), np.int32, len(item_ids))
        self._numbers.extend(numbers)
        self._keys.extend(len(self.vocabulary) + np.fromiter(map(_digest, item_ids), np.int64, len(item_ids)))
        self._available.extend(self.catalogue.matching(Filters(), numbers))

    def allowed(self, filters: Filters, excluded: Iterable[str]) -> Bools:
        """Which rows a list may hold, (N + E,), a new array."""
        mask = self._matching(filters) if asks_for_attributes(filters) else self.available.copy()
        mask[[row for row in map(self.row, excluded) if row >= 0]] = False
        return mask

    def passing(self, rows: Int32s, filters: Filters, excluded: Iterable[str]) -> Bools:
        """Which of these rows, all available, a list may hold: what `allowed` says of them."""
        mask = np.ones(len(rows), np.bool_)
        if asks_for_attributes(filters):
            numbers = self._numbers.values[rows]
            mask[numbers < 0] = False
            mask[mask] = self.catalogue.matching(filters, numbers[mask])
        without = list(map(self.row, excluded))
        if without:
            mask &= ~np.isin(rows, without)
        return mask

    def _matching(self, filters: Filters) -> Bools:
        """Items that only events have named have no attributes: number -1 finds the False at the end."""
        matching: Bools = np.append(self.catalogue.matching(filters), False)[self._numbers.values]
        return matching


def _digest(item_id: str) -> int:
    """48 bits of an id, the same in every process."""
    return int.from_bytes(hashlib.blake2b(item_id.encode(), digest_size=6).digest(), "big")
