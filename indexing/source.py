"""What a candidate source is: one class that is built from interactions and names items for histories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from indexing.histories import Floats, HistoryBatch, Int32s, Int64s, Interactions


class Contents(NamedTuple):
    """What is known of N items besides events: hashed words `tokens` (T,) and where each item's begin (N + 1,)."""

    tokens: npt.NDArray[np.int32]
    starts: Int64s

    def take(self, rows: npt.NDArray[np.int32]) -> Contents:
        """The contents of these rows, in this order; nothing is known of row -1."""
        lengths = np.where(rows >= 0, np.diff(self.starts)[rows], 0)
        starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        at = np.arange(starts[-1]) + np.repeat(self.starts[rows] - starts[:-1], lengths)
        return Contents(self.tokens[at], starts)


class Source(Protocol):
    """A way to find candidates. The ranker learns from its scores and ranks what it is worth.

    A new source is one module in `indexing/sources/` that names its class `SOURCE`, and the module's name in the
    setting `model.sources`. Its lists must depend on nothing but the arrays and the one history: not on the batch.
    """

    @classmethod
    def build(cls, interactions: Interactions, item_count: int, contents: Contents | None = None) -> Self:
        """The source over `item_count` rows from all interactions in log order. Deterministic."""

    def candidates(self, batch: HistoryBatch, k: int) -> tuple[Int32s, Floats]:
        """The k best rows of each history, (B, k) best first with -1 padding, and scores (B, k), 0 behind the last.

        Rows of the histories that are below 0 or not among the source's own are passed over.
        """

    def arrays(self) -> dict[str, np.ndarray]:
        """All it consists of, by name: numbers only, no objects."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], item_count: int) -> Self:
        """The source that `arrays()` came from.

        Raises ValueError where they do not fit together: they may come from a damaged file, and compiled loops follow
        them without looking.
        """
