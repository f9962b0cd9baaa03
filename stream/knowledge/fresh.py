"""Vectors of items newer than the snapshot, behind the snapshot's own in one array that grows by doubling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexing.histories import Floats, Int64s
from models.features import ItemContent
from stream.knowledge.snapshot import Bools, Fresh, Snapshot

FIRST_ROOM = 1_024  # rows; below one megabyte at the usual dimensions


class FreshVectors:
    """The item vectors of a snapshot and of E newer items, and the encoder over them all."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._vectors: Floats = snapshot.item_vectors
        self._size = len(snapshot)
        self._encoder = snapshot.encoder
        self._untouched = snapshot.untouched

    def encode(self, rows: Int64s, contents: Sequence[ItemContent], size: int) -> None:
        """Makes room for `size` rows together and encodes the contents of the given ones."""
        if size > len(self._vectors):
            count, dimensions = self._vectors.shape
            room = max(size, count + FIRST_ROOM if count == len(self._snapshot) else 2 * count)
            grown = np.zeros((room, dimensions), np.float32)
            grown[:count] = self._vectors
            self._vectors = grown
        self._vectors[rows] = self._snapshot.tower.encode_content(contents)
        self._size = size
        self._encoder = self._snapshot.encoder.with_vectors(self._vectors[:size])
        newer = np.arange(len(self._snapshot), size)
        self._untouched = np.concatenate((self._snapshot.untouched, newer))

    def fresh(self, available: Bools, keys: Int64s) -> Fresh:
        """The view that retrieval takes; `available` and `keys` (N + E,)."""
        return Fresh(self._vectors[: self._size], self._encoder, available, keys, self._untouched)
