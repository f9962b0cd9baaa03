"""Nearest item vectors by inner product, with FAISS: exact for small catalogues, inverted lists above."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from indexing import kernels
from indexing.arrays import empty_lists, frozen
from indexing.histories import Floats, Int32s, Int64s

FLAT_BELOW = 5_000  # items; up to here an exact scan costs less than it saves
NPROBE = 8
TRAINING_POINTS = 40  # of each list, drawn by lot: FAISS asks for 39, more make no better lists
TRAINING_ROUNDS = 4  # of k-means: more find less than a thousandth more of the nearest
COMPARED_AT_ONCE = 1_024  # vectors: their products with all centres of a million items take 16 MB
_NEVER = 2**31 - 1  # queries
_USUAL_THRESHOLD = 20  # FAISS's own default, good for training


def use_threads(count: int) -> None:
    """Lets FAISS use so many threads for what the calling thread asks of it: for processes that build indexes."""
    faiss.omp_set_num_threads(count)


def one_thread() -> None:
    """Keeps FAISS to the calling thread: for servers, whose batches are small. Each thread must say so for itself."""
    faiss.omp_set_num_threads(1)


@dataclass(frozen=True)
class VectorIndex:
    """An immutable FAISS index over N normalised vectors; ids are rows."""

    index: Any

    @classmethod
    def build(
        cls, vectors: np.ndarray, *, flat_below: int = FLAT_BELOW, nprobe: int = NPROBE, seed: int = 0
    ) -> VectorIndex:
        """Indexes (N, D) float32 vectors; with inverted lists, about 4 sqrt(N) of them, from `flat_below` items on."""
        count, dimensions = vectors.shape
        vectors = np.ascontiguousarray(vectors, np.float32)
        if count < flat_below:
            index: Any = faiss.IndexFlatIP(dimensions)
            index.add(vectors)
            return cls(index)
        faiss.cvar.distance_compute_blas_threshold = _USUAL_THRESHOLD
        lists = max(1, min(int(4 * math.sqrt(count)), count // TRAINING_POINTS))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimensions), dimensions, lists, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed = seed
        index.cp.niter = TRAINING_ROUNDS
        index.cp.max_points_per_centroid = TRAINING_POINTS
        index.cp.spherical = True
        index.train(vectors)
        _add(index, vectors)
        index.nprobe = min(nprobe, lists)
        return cls(index)

    def __len__(self) -> int:
        return int(self.index.ntotal)

    @property
    def exact(self) -> bool:
        """Whether a search sees every item."""
        return isinstance(self.index, faiss.IndexFlat)

    def search(self, queries: np.ndarray, k: int) -> tuple[Int32s, Floats]:
        """The k best rows of each query (B, D): rows (B, k) with -1 padding, inner products (B, k), best first.

        FAISS would compute large batches with BLAS, whose sums differ in the last bit from those of small ones; lists
        must not depend on the batch they are made in, so it is kept to one way. Equal inner products are ordered by
        row.
        """
        faiss.cvar.distance_compute_blas_threshold = _NEVER
        scores, rows = self.index.search(np.ascontiguousarray(queries, np.float32), k)
        result = np.empty(rows.shape, np.int32)
        kernels.settle(rows, scores, result)
        return result, scores

    def recall(self, queries: np.ndarray, k: int, exact: VectorIndex) -> float:
        """The share of the k nearest by an `exact` index that a search of this one finds, mean of queries (B, D)."""
        if len(queries) == 0 or len(self) == 0:
            return 1.0
        wanted, _ = exact.search(queries, min(k, len(self)))
        found, _ = self.search(queries, min(k, len(self)))
        hits = (wanted[:, :, None] == found[:, None, :]).any(axis=2)  # a search never names a row twice, nor wants -1
        return float(hits.mean())

    @property
    def probes(self) -> int:
        """How many lists a search looks into; 0 where there are none."""
        return 0 if self.exact else int(self.index.nprobe)

    def wider(self) -> VectorIndex | None:
        """The index looking into twice as many lists at each search, None where it looks into all of them already."""
        if self.exact or self.index.nprobe >= self.index.nlist:
            return None
        index: Any = faiss.clone_index(self.index)
        index.nprobe = min(2 * index.nprobe, index.nlist)
        return VectorIndex(index)

    def names_each_row_once(self) -> bool:
        """Whether its ids are the rows from 0 on: callers follow them without looking."""
        if self.exact:
            return True  # ids are places
        lists = self.index.invlists
        sizes = [lists.list_size(number) for number in range(lists.nlist)]
        held = [faiss.rev_swig_ptr(lists.get_ids(at), size) for at, size in enumerate(sizes) if size]
        ids = np.concatenate(held) if held else np.empty(0, np.int64)
        if len(ids) != len(self) or (len(ids) and not 0 <= ids.min() <= ids.max() < len(ids)):
            return False
        return bool((np.bincount(ids, minlength=len(ids)) == 1).all())

    def save(self, path: Path) -> None:
        """Writes the FAISS file."""
        faiss.write_index(self.index, str(path))

    @classmethod
    def load(cls, path: Path) -> VectorIndex:
        """Reads a FAISS file; how many lists a search looks into stands in it.

        Raises OSError where it is missing or broken.
        """
        try:
            index = faiss.read_index(str(path))
        except RuntimeError as error:
            raise OSError(f"{path} is not a readable FAISS index: {error}") from None
        if isinstance(index, faiss.IndexIVF):
            index.nprobe = max(1, min(index.nprobe, index.nlist))
        return cls(index)


def _add(index: Any, vectors: Floats) -> None:  # noqa: ANN401  # FAISS is untyped
    """Adds (N, D) vectors to inverted lists, each to the one with the nearest centre: FAISS's own search for that takes
    four times as long as a product of matrices.
    """
    centres, lists = index.quantizer.reconstruct_n(0, index.nlist).T, np.empty(len(vectors), np.int64)
    room = np.empty((COMPARED_AT_ONCE, index.nlist), np.float32)
    for start in range(0, len(vectors), COMPARED_AT_ONCE):
        part = slice(start, start + COMPARED_AT_ONCE)
        np.matmul(vectors[part], centres, out=room[: len(lists[part])]).argmax(axis=1, out=lists[part])
    index.add_core(len(vectors), faiss.swig_ptr(vectors), None, faiss.swig_ptr(lists))


def nearest_of(
    users: Floats, vectors: Floats, rows: Int64s, *, available: npt.NDArray[np.bool_], keys: Int64s, k: int
) -> tuple[Int32s, Floats]:
    """The k nearest of the available ones of `rows`, exactly, of those with an inner product above 0.

    For items that an index does not hold or would bury: `users` (B, D), `vectors` (N, D); rows (B, k) with -1 padding,
    scores (B, k).
    """
    found, scores = empty_lists(len(users), k)
    kernels.nearest(users, frozen(vectors, np.float32), rows, available, keys, found, scores)
    return found, scores
