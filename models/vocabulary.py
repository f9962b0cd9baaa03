"""Item ids of the outside world and the rows they have in one version's arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NewType

import numpy as np

ItemId = NewType("ItemId", str)
Row = NewType("Row", int)

UNKNOWN = -1


class Vocabulary:
    """Immutable one-to-one map between item ids and rows 0..N-1.

    >>> vocabulary = Vocabulary(["71053", "85123A"])
    >>> vocabulary.rows["85123A"], vocabulary.ids[0], len(vocabulary)
    (1, '71053', 2)
    >>> vocabulary.lookup(["85123A", "never seen"]).tolist()
    [1, -1]
    """

    __slots__ = ("ids", "rows")

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids: list[str] = list(ids)
        self.rows: dict[str, int] = {item_id: row for row, item_id in enumerate(self.ids)}
        if len(self.rows) != len(self.ids):
            raise ValueError("an item id stands twice in the vocabulary")

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self.rows

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.ids == other.ids

    __hash__ = None  # type: ignore[assignment]  # compared by its content, never a key

    def lookup(self, item_ids: Sequence[str]) -> np.ndarray:
        """Rows of the ids, int32, -1 where an id is not known."""
        get = self.rows.get
        return np.fromiter((get(item_id, UNKNOWN) for item_id in item_ids), np.int32, len(item_ids))

    def extended(self, item_ids: Iterable[str]) -> Vocabulary:
        """The same rows and, after them, one for each id not yet known, in the order given."""
        new = dict.fromkeys(item_id for item_id in item_ids if item_id not in self.rows)
        return Vocabulary([*self.ids, *new])
