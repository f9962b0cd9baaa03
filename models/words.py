"""What words mean before anything is learned: a truncated SVD of the items' weighted words (latent semantic analysis:
Deerwester et al., 1990), so that an item with words like another's is near it from the first artifact on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.encoder import Floats
from models.features import Features

OVERSAMPLING = 8
ROUNDS = 3  # of subspace iteration (Halko et al., SIAM Review 2011)
NORM = 0.5  # of an item's content, root mean square: somewhat less than that of a fresh embedding
Matrix = npt.NDArray[np.float64]


def with_meaning(tokens: Floats, features: Features, seed: int) -> Floats:
    """Token embeddings (buckets, D) to begin with: those of the items' words by what stands together, the others as
    they are given, but as long as these.

    The mean of an item's tokens is its place among the D strongest directions of the TF-IDF matrix, all of the same
    weight. Deterministic for one seed.
    """
    if len(features.tokens) == 0:
        return tokens
    words = _Words(features, len(tokens))
    size = min(tokens.shape[1], len(features), len(tokens))
    strengths, directions = _strongest(words, size, np.random.default_rng([seed, 9]))
    meaning = np.zeros(tokens.shape)
    meaning[:, : len(strengths)] = directions.T / strengths * words.weights[:, None]
    means = words.means(meaning)
    meaning *= NORM / np.sqrt(np.mean(np.einsum("ij,ij->i", means, means)))
    known = words.weights > 0
    length = np.sqrt(np.mean(np.square(meaning[known]).sum(axis=1)) / np.mean(np.square(tokens).sum(axis=1)))
    return np.where(known[:, None], meaning, tokens * length).astype(np.float32)


def _strongest(words: _Words, size: int, rng: np.random.Generator) -> tuple[Matrix, Matrix]:
    """The greatest singular values above zero, at most `size` of them, and their directions (size, buckets)."""
    basis = rng.normal(size=(len(words.weights), size + OVERSAMPLING))
    for _ in range(ROUNDS):
        basis = words.of_words(np.linalg.qr(words.of_items(basis))[0])
    found = words.of_words(np.linalg.qr(words.of_items(basis))[0])
    _, strengths, directions = np.linalg.svd(found.T, full_matrices=False)
    kept = np.flatnonzero(strengths > 1e-6 * strengths[0])[:size]
    return strengths[kept], directions[kept]


class _Words:
    """The TF-IDF matrix of items and words as products alone; only items that have words have a row."""

    def __init__(self, features: Features, buckets: int) -> None:
        lengths = np.diff(features.starts)
        lengths = lengths[lengths > 0]
        owners = np.repeat(np.arange(len(lengths)), lengths)
        tokens = np.asarray(features.tokens, np.int64)
        standing_in = np.bincount(np.unique(owners * buckets + tokens) % buckets, minlength=buckets)
        self.weights = np.where(standing_in > 0, np.log((1 + len(lengths)) / (1 + standing_in)) + 1, 0.0)
        norms = np.sqrt(np.bincount(owners, self.weights[tokens] ** 2))
        shape = (len(lengths), buckets)
        self._matrix = _sparse(owners, tokens, self.weights[tokens] / norms[owners], shape)
        self._transposed = _sparse(tokens, owners, self.weights[tokens] / norms[owners], shape[::-1])
        self._means = _sparse(owners, tokens, np.repeat(1.0 / lengths, lengths), shape)

    def of_items(self, by_word: Matrix) -> Matrix:
        """The product with (buckets, K): a row for each item."""
        return _product(self._matrix, by_word)

    def of_words(self, by_item: Matrix) -> Matrix:
        """The product of the transposed matrix with a row for each item: (buckets, K)."""
        return _product(self._transposed, by_item)

    def means(self, by_word: Matrix) -> Matrix:
        """The mean over each item's words of (buckets, K)."""
        return _product(self._means, by_word)


def _sparse(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    places = torch.from_numpy(np.stack([rows, columns]))
    return torch.sparse_coo_tensor(places, torch.from_numpy(values), shape, check_invariants=True).coalesce()


def _product(matrix: Tensor, dense: Matrix) -> Matrix:
    return np.asarray(torch.sparse.mm(matrix, torch.from_numpy(np.ascontiguousarray(dense))).numpy(), np.float64)
