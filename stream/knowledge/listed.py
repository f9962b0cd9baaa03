"""Lists as they come from serving: columns of all that were made together, of which a list is a view.

Most lists are only ever written as a message. Nothing of a list is a Python object until it is asked for.
"""

from __future__ import annotations

from itertools import pairwise, repeat
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from indexing.arrays import filled
from indexing.candidates import SourceNames
from indexing.histories import Int32s, Int64s
from indexing.list_text import place, round_off, write
from models.vocabulary import UNKNOWN
from stream.knowledge.choosing import Ranking
from stream.knowledge.places import Places
from stream.knowledge.served import ServedItems
from stream.wire.messages import Reason, RecommendedItem

Doubles = npt.NDArray[np.float64]

_JSON = msgspec.json.Encoder()


class Texts(NamedTuple):
    """Of each of some lists: its places as JSON, as messages have them, and its ids as msgpack."""

    items: list[bytes]
    packed: list[msgspec.Raw]


class Lists:
    """B lists of at most K places, best first.

    Scores have six decimals, propensities nine.
    """

    def __init__(self, items: ServedItems, names: SourceNames, shape: tuple[int, int]) -> None:
        """So many empty lists of `items`."""
        self._items, self._names = items, names
        self.rows: Int32s = filled(shape, UNKNOWN, np.int32)  # (B, K), -1 behind the last
        self.sizes: Int64s = np.zeros(shape[0], np.int64)
        self.drawn: Int64s = np.zeros(shape[0], np.int64)  # places filled by lot
        self.fallbacks: list[str | None] = [None] * shape[0]
        self.because: dict[int, list[list[str]]] = {}  # by list, where asked for
        self._scores: Doubles = np.zeros(shape, np.float64)
        self._chances: Doubles = np.zeros(shape, np.float64)
        self._sources: npt.NDArray[np.uint16] = np.zeros(shape, np.uint16)

    def __getitem__(self, at: int) -> RankedList:
        return RankedList(self, at, int(self.sizes[at]), int(self.drawn[at]), self.fallbacks[at])

    def every(self) -> list[RankedList]:
        """The lists one by one."""
        count = range(len(self.sizes))
        return [*map(RankedList, repeat(self), count, self.sizes.tolist(), self.drawn.tolist(), self.fallbacks)]

    def place(self, ranking: Ranking, users: Int64s) -> None:
        """Puts the lists of a ranking where `users` says."""
        self.drawn[users] = ranking.drawn
        found = ranking.candidates.rows, ranking.scores, ranking.candidates.sources
        place(ranking.positions, found, ranking.chances, users, self._columns())

    def put(self, at: int, places: Places) -> None:
        """Puts a list there; it has at most K places."""
        size = self.sizes[at] = len(places.rows)
        self.rows[at, :size], self._sources[at, :size] = places.rows, places.bits
        self._scores[at, :size], self._chances[at, :size] = places.scores, places.chances
        round_off(self._scores[at], self._chances[at], size)
        self.drawn[at] = places.drawn

    def places(self, at: int) -> Places:
        """A list as it can go on."""
        rows, scores, bits, chances, sizes = self._columns()
        listed = slice(sizes[at])
        columns = rows[at, listed].tolist(), scores[at, listed].tolist(), bits[at, listed].tolist()
        return Places(*columns, chances[at, listed].tolist(), int(self.drawn[at]))

    def item_ids(self, at: int) -> list[str]:
        """The ids of a list."""
        return self._items.names(self.rows[at, : self.sizes[at]].tolist())

    def sources(self, at: int) -> list[tuple[str, ...]]:
        """The sources of each of a list's places."""
        return [*map(self._names.__getitem__, self._sources[at, : self.sizes[at]].tolist())]

    def texts(self) -> Texts:
        """All lists as a worker writes them."""
        ids, plain = self._items.texts.columns
        items, ends, packed, packed_ends = write(self._columns(), ids, plain, self._names.texts)
        json, packed_ids = items[: ends[-1]].tobytes(), packed[: packed_ends[-1]].tobytes()
        texts = [json[start:end] for start, end in pairwise([0, *ends.tolist()])]
        for at, text in enumerate(texts):
            if not text or at in self.because:
                texts[at] = _JSON.encode(self[at].recommended())
        raws = [msgspec.Raw(packed_ids[start:end]) for start, end in pairwise([0, *packed_ends.tolist()])]
        return Texts(texts, raws)

    def _columns(self) -> tuple[Int32s, Doubles, npt.NDArray[np.uint16], Doubles, Int64s]:
        return self.rows, self._scores, self._sources, self._chances, self.sizes


class RankedList(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A list, best first; its columns are made when they are asked for.

    `fallback`: as in the message, why it is not fully personal; `drawn`: how many places were drawn by lot.
    """

    lists: Lists
    at: int  # in `lists`
    size: int
    drawn: int
    fallback: str | None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RankedList) and self.columns() == other.columns()

    __hash__ = None  # type: ignore[assignment]  # as of any sequence of lists

    @property
    def item_ids(self) -> list[str]:
        """The ids of its items."""
        return self.lists.item_ids(self.at)

    @property
    def scores(self) -> list[float]:
        """Never rising, to six decimals."""
        return self.lists.places(self.at).scores

    @property
    def sources(self) -> list[tuple[str, ...]]:
        """Which sources found each item."""
        return self.lists.sources(self.at)

    @property
    def because(self) -> list[list[str]]:
        """Items of the history that each item stands there for, empty lists unless they were asked for."""
        return self.lists.because.get(self.at) or [[]] * self.size

    @property
    def propensities(self) -> list[float]:
        """The chance of each item to stand where it does, to nine decimals."""
        return self.lists.places(self.at).chances

    def recommended(self) -> list[RecommendedItem]:
        """As a message has them."""
        return [
            RecommendedItem(item_id, score, source, propensity, Reason(because) if because else None)
            for item_id, score, source, because, propensity in zip(*self.columns(), strict=True)
        ]

    def columns(self) -> tuple[list[str], list[float], list[tuple[str, ...]], list[list[str]], list[float]]:
        """Ids, scores, sources, reasons and propensities."""
        places = self.lists.places(self.at)
        return self.item_ids, places.scores, self.sources, self.because, places.chances
