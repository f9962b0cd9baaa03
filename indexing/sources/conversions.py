"""Conversions: what users who met the same items then did by the event type asked for: put into the cart, bought.

The usual event type, that of most events, needs no source of its own: what leads to it is co-visitation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from indexing.arrays import check_lists, check_rows, empty_lists, frozen, taken
from indexing.histories import Floats, HistoryBatch, Int8s, Int32s, Int64s, Interactions
from indexing.neighbours import Neighbours
from indexing.source import Contents, Source

WINDOW = 8  # events of the same user before one of the type, in whatever session
FADE = 0.8  # weight of each further one
HALF_LIFE_MS = 28 * 86_400_000  # rare types need a long memory
LAST_WEIGHTS = tuple(0.6**place for place in range(8))  # of the user's last different items, newest first
_DTYPES = {"types": np.int8, "starts": np.int64, "rows": np.int32, "scores": np.float32}


class _LedTo(Neighbours):
    """What the events of items led to, for one event type."""

    last_weights = LAST_WEIGHTS


@dataclass(frozen=True)
class Conversions:
    """For each of G event types the items that the events of N items led to, in CSR form, best first.

    `types` (G,) codes, ascending; `starts` (G * N + 1,), the lists of the first type before those of the next; `rows`
    (P,), `scores` (P,): sums of weights divided by the square root of their sum for one item. An item can lead to
    itself: what is looked at is bought.
    """

    types: Int8s
    starts: Int64s
    rows: Int32s
    scores: Floats

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            object.__setattr__(self, name, frozen(getattr(self, name), dtype))

    @classmethod
    def build(
        cls,
        interactions: Interactions,
        item_count: int,
        contents: Contents | None = None,  # noqa: ARG003  # every source is built alike
        *,
        most: int = 50,
    ) -> Conversions:
        """Sums up what came before each event of a type that is not the usual one; the `most` best of each item."""
        counts = np.bincount(interactions.types) if len(interactions) else np.zeros(1, np.int64)
        usual = int(counts.argmax())
        types = np.flatnonzero(counts)
        types = types[types != usual].astype(np.int8)
        order = np.argsort(interactions.users, kind="stable") if len(types) else np.zeros(0, np.int64)
        parts = [_led_to(interactions, order, code, item_count, most) for code in types.tolist()]
        lengths = [np.zeros(0, np.int64), *(np.bincount(sources, minlength=item_count) for sources, _, _ in parts)]
        return cls(
            types,
            np.concatenate(([0], np.cumsum(np.concatenate(lengths), dtype=np.int64))),
            np.concatenate([np.zeros(0, np.int32), *(rows for _, rows, _ in parts)]),
            np.concatenate([np.zeros(0, np.float32), *(scores for _, _, scores in parts)]),
        )

    def candidates(self, batch: HistoryBatch, k: int) -> tuple[Int32s, Floats]:
        """The k items that each user's last items lead to, with the type asked for; nothing for the usual type."""
        rows, scores = empty_lists(len(batch), k)
        for code, led in zip(self.types.tolist(), self._by_type, strict=True):
            asking = np.flatnonzero(batch.intents == code)
            if len(asking):
                rows[asking], scores[asking] = led.candidates(batch.take(asking), k)
        return rows, scores

    @cached_property
    def _by_type(self) -> list[_LedTo]:
        """The lists of each type."""
        items = (len(self.starts) - 1) // max(len(self.types), 1)
        begins = (place * items for place in range(len(self.types)))
        return [_LedTo(self.starts[begin : begin + items + 1], self.rows, self.scores) for begin in begins]

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name."""
        return {name: getattr(self, name) for name in _DTYPES}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], item_count: int) -> Conversions:
        """The source that `arrays()` came from. Raises ValueError where they do not fit together."""
        parts = taken(arrays, _DTYPES)
        check_lists("starts", parts["starts"], item_count * len(parts["types"]), len(parts["rows"]))
        check_rows("rows", parts["rows"], item_count)
        if len(parts["scores"]) != len(parts["rows"]):
            raise ValueError(f"{len(parts['scores'])} scores for {len(parts['rows'])} rows")
        return cls(**parts)


def _led_to(
    interactions: Interactions, order: np.ndarray, code: int, item_count: int, most: int
) -> tuple[Int64s, Int32s, Floats]:
    """What led to events of one type: sources (P,) ascending, the rows that they led to, best first, and scores.

    `order` are the interactions by user, oldest first.
    """
    users, items = interactions.users[order], interactions.items[order].astype(np.int64)
    ends = np.flatnonzero(interactions.types[order] == code)
    times = interactions.times[order][ends]
    recency = np.exp2((times - times.max(initial=0)) / HALF_LIFE_MS)
    cells, weights = [np.zeros(0, np.int64)], [np.zeros(0)]
    for lag in range(1, WINDOW + 1):
        same = ends >= lag
        same[same] = users[ends[same] - lag] == users[ends[same]]
        cells.append(items[ends[same] - lag] * item_count + items[ends[same]])
        weights.append(recency[same] * FADE ** (lag - 1))
    pairs, inverse = np.unique(np.concatenate(cells), return_inverse=True)
    sums = np.bincount(inverse, np.concatenate(weights), minlength=len(pairs))
    sources, rows = np.divmod(pairs, max(item_count, 1))
    best = np.lexsort((rows, -sums, sources))
    sources, rows, sums = sources[best], rows[best], sums[best]
    lengths = np.bincount(sources, minlength=item_count)
    kept = np.arange(len(sources)) - (np.cumsum(lengths) - lengths)[sources] < most
    sources, rows, sums = sources[kept], rows[kept], sums[kept]
    totals = np.bincount(sources, sums, minlength=item_count)
    return sources, rows.astype(np.int32), (sums / np.sqrt(totals[sources])).astype(np.float32)


SOURCE: type[Source] = Conversions
