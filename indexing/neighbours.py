"""Neighbours of items as a source: what the sources that are built as a list for each item have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from indexing import source_kernels
from indexing.arrays import check_lists, check_rows, empty_lists, frozen, taken
from indexing.histories import Floats, HistoryBatch, Int32s, Int64s
from indexing.weights import table_size

_DTYPES = {"starts": np.int64, "rows": np.int32, "scores": np.float32}


@dataclass(frozen=True)
class Neighbours:
    """Neighbours of N items in CSR form, best first: `starts` (N + 1,), `rows` (P,), `scores` (P,).

    `last_weights` are those of the user's last different items, newest first.
    """

    starts: Int64s
    rows: Int32s
    scores: Floats

    last_weights: ClassVar[tuple[float, ...]]

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            object.__setattr__(self, name, frozen(getattr(self, name), dtype))

    @classmethod
    def empty(cls, item_count: int) -> Self:
        """Without any neighbours."""
        return cls(np.zeros(item_count + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))

    def candidates(self, batch: HistoryBatch, k: int) -> tuple[Int32s, Floats]:
        """The k items that go best with each user's last items: rows (B, k) with -1 padding, scores (B, k)."""
        rows, scores = empty_lists(len(batch), k)
        if len(self.rows) == 0:
            return rows, scores
        source_kernels.covisited(
            (batch.rows, batch.starts),
            (self.starts, self.rows, self.scores),
            self._last_weights,
            self._table_size,
            (rows, scores),
        )
        return rows, scores

    @cached_property
    def _last_weights(self) -> Floats:
        return np.array(self.last_weights, np.float32)

    @cached_property
    def _table_size(self) -> int:
        return table_size(int(np.diff(self.starts).max(initial=0)) * len(self.last_weights))

    def neighbours(self, row: int) -> tuple[Int32s, Floats]:
        """The neighbours of one item, best first, and their scores."""
        start, end = self.starts[row], self.starts[row + 1]
        return self.rows[start:end], self.scores[start:end]

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        return {name: getattr(self, name) for name in _DTYPES}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], item_count: int) -> Self:
        """The source that `arrays()` came from. Raises ValueError where they do not fit together."""
        parts = taken(arrays, _DTYPES)
        check_lists("starts", parts["starts"], item_count, len(parts["rows"]))
        check_rows("rows", parts["rows"], item_count)
        if len(parts["scores"]) != len(parts["rows"]):
            raise ValueError(f"{len(parts['scores'])} scores for {len(parts['rows'])} rows")
        return cls(**parts)
