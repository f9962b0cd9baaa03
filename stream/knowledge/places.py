"""A list in the making, and how to fill it without candidates: exact search, neighbours of an item, popularity."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from indexing.columns import ANN, NEW, TRENDING
from indexing.histories import Floats, Int64s
from indexing.vectors import nearest_of
from stream.knowledge.popularity import LivePopularity
from stream.knowledge.served import Bools, ServedItems
from stream.knowledge.snapshot import PER_SOURCE, Fresh, Snapshot

FIRST_NAMES = 1_024


@dataclass
class Places:
    """Rows, best first, their scores, their sources as bits and their chances to stand there; `drawn` by lot."""

    rows: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    bits: list[int] = field(default_factory=list)
    chances: list[float] = field(default_factory=list)
    drawn: int = 0

    def extend(self, rows: Sequence[int], scores: Sequence[float], bits: Sequence[int]) -> None:
        """Adds places at the end, for certain."""
        self.rows.extend(rows)
        self.scores.extend(scores)
        self.bits.extend(bits)
        self.chances.extend([1.0] * len(rows))


def fill(places: Places, count: int, vector: Floats, *, snapshot: Snapshot, fresh: Fresh, allowed: Bools) -> None:
    """Fills a list up to `count` by exact search: the rows nearest to `vector` (D,), equal ones by popularity.

    `allowed` (N + E,) are the rows that the list may hold. Scores go on below the lowest of the list.
    """
    missing = count - len(places.rows)
    if missing <= 0:
        return
    left = allowed.copy()
    left[places.rows] = False
    rows = np.flatnonzero(left)
    if len(rows) == 0:
        return
    near = np.einsum("ij,j->i", fresh.vectors[rows] if 4 * len(rows) < len(left) else fresh.vectors, vector)
    if len(near) > len(rows):  # gathering a few vectors beats passing over all of them, else it does not
        near = near[rows]
    if len(rows) > missing:
        least = np.partition(near, len(rows) - missing)[len(rows) - missing]
        rows, near = rows[near >= least], near[near >= least]
    counts = np.zeros(len(rows), np.float32)
    known = rows < len(snapshot)
    counts[known] = snapshot.trending.counts[rows[known], 1]
    best = np.lexsort((fresh.keys[rows], -counts, -near))[:missing]
    lowest = places.scores[-1] if places.scores else 1.0
    chosen = rows[best].tolist()
    scores = lowest - 1.0 + np.minimum(near[best], 1.0)
    places.extend(chosen, scores.tolist(), [ANN if row < len(snapshot) else ANN | NEW for row in chosen])


def neighbours(snapshot: Snapshot, row: int, fresh: Fresh, count: int, allowed: Bools) -> Places:
    """Items that go with one: the mean of the share of its best co-visitation score and of the vectors' cosine."""
    scores: dict[int, float] = {}
    bits: dict[int, int] = {}
    if row < len(snapshot):
        rows, together = snapshot.covisitation.neighbours(row)
        visited = snapshot.bit("covisitation")
        for other, score in zip(rows.tolist(), together.tolist(), strict=True):
            scores[other], bits[other] = 0.5 * score / float(together[0]), visited
    vector = fresh.vectors[row : row + 1].copy()  # writable, as users' vectors are to the compiled loops
    width = max(PER_SOURCE, 2 * count)
    found = [(snapshot.vectors.search(vector, width), ANN)]
    if len(fresh.vectors) > len(snapshot):
        newer = fresh.untouched[len(snapshot.untouched) :]
        new = nearest_of(vector, fresh.vectors, newer, available=fresh.available, keys=fresh.keys, k=width)
        found.append((new, ANN | NEW))
    for (near_rows, cosines), source in found:
        for other, cosine in zip(near_rows[0].tolist(), cosines[0].tolist(), strict=True):
            if other >= 0 and cosine > 0.0:
                scores[other] = scores.get(other, 0.0) + 0.5 * cosine
                bits[other] = bits.get(other, 0) | source
    found_rows = [other for other in scores if other != row and allowed[other]]
    best = sorted(found_rows, key=lambda other: (-scores[other], fresh.keys[other]))[:count]
    places = Places()
    places.extend(best, [scores[other] for other in best], [bits[other] for other in best])
    return places


class FirstNames:
    """The first of a growing list's names in their order, kept up without sorting all of them again."""

    def __init__(self, most: int = FIRST_NAMES) -> None:
        self._most = most
        self._seen = 0
        self._names: list[tuple[str, int]] = []

    def of(self, names: Sequence[str]) -> Int64s:
        """The places of the first names, in their order; `names` are those of the last call and, behind them, more.

        >>> first = FirstNames(most=2)
        >>> first.of(["c", "a"]).tolist(), first.of(["c", "a", "b", "d"]).tolist()
        ([1, 0], [1, 2])
        """
        for at in range(self._seen, len(names)):
            if len(self._names) < self._most or names[at] < self._names[-1][0]:
                insort(self._names, (names[at], at))
                del self._names[self._most :]
        self._seen = len(names)
        return np.array([at for _, at in self._names], np.int64)


class Popular:
    """All rows by popularity: the snapshot's trending items, or what was observed; then the others by id."""

    def __init__(self, snapshot: Snapshot | None, items: ServedItems, live: LivePopularity) -> None:
        self._snapshot, self._items, self._live = snapshot, items, live
        self._most: list[str] | None = None
        self._most_rows: Int64s = np.zeros(0, np.int64)
        self._others: Int64s = np.zeros(0, np.int64)
        self._first = FirstNames()

    def best(self, count: int, allowed: Bools) -> Places:
        """The most popular rows of those allowed (N + E,)."""
        places = Places()
        for ranked, bits in ((self._popular, TRENDING), (self._first_of_rest, NEW), (self._rest, NEW)):
            missing = count - len(places.rows)
            if missing <= 0:
                break
            rows = ranked()
            chosen = rows[: 4 * missing][allowed[rows[: 4 * missing]]]
            if len(chosen) < missing:
                chosen = rows[allowed[rows]]
            fitting = [row for row in chosen[: missing + len(places.rows)].tolist() if row not in places.rows][:missing]
            places.extend(fitting, self._scores(fitting), [bits] * len(fitting))
        return places

    def _popular(self) -> Int64s:
        if self._snapshot is not None:
            return np.asarray(self._snapshot.trending.order, np.int64)
        most = self._live.most()
        if self._most is not most:
            self._most = most
            self._most_rows = np.fromiter(map(self._items.row, most), np.int64, len(most))
        return self._most_rows

    def _first_of_rest(self) -> Int64s:
        return len(self._items.vocabulary) + self._first.of(self._items.newer)

    def _rest(self) -> Int64s:
        newer, first = self._items.newer, len(self._items.vocabulary)
        if len(self._others) != len(newer):
            self._others = first + np.array(sorted(range(len(newer)), key=newer.__getitem__), np.int64)
        return self._others

    def _scores(self, rows: list[int]) -> list[float]:
        if self._snapshot is None:
            return [float(self._live.count(item_id)) for item_id in self._items.names(rows)]
        counts = self._snapshot.popularity
        return [float(counts[row, 1]) if row < len(counts) else 0.0 for row in rows]
