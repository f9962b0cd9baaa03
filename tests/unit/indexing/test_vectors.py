"""Vector search against exact search."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from indexing.histories import Floats
from indexing.vectors import VectorIndex, nearest_of


def directions(count: int, dimensions: int, seed: int, clusters: int = 40) -> Floats:
    """Normalised vectors around cluster centres, as learned ones are."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(clusters, dimensions))
    vectors = centres[rng.integers(0, clusters, count)] + 0.5 * rng.normal(size=(count, dimensions))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def exact(queries: Floats, vectors: Floats, k: int) -> np.ndarray:
    """The k rows of greatest inner product, in double precision."""
    return np.argsort(-(queries.astype(np.float64) @ vectors.astype(np.float64).T), axis=1, kind="stable")[:, :k]


def test_a_small_catalogue_is_searched_exactly() -> None:
    """Below the limit every query gets exactly its nearest rows."""
    vectors, queries = directions(500, 16, 1), directions(40, 16, 2)
    index = VectorIndex.build(vectors)
    rows, scores = index.search(queries, 10)
    assert index.exact
    np.testing.assert_array_equal(rows, exact(queries, vectors, 10))
    np.testing.assert_allclose(scores, np.take_along_axis(queries @ vectors.T, rows, 1), atol=1e-5)
    assert index.recall(queries, 10, index) == 1.0


def test_a_large_catalogue_is_searched_nearly_exactly() -> None:
    """With inverted lists most of the nearest rows are found, and the measured recall is the true one."""
    vectors, queries = directions(3_000, 16, 3), directions(60, 16, 4)
    index = VectorIndex.build(vectors, flat_below=1_000, seed=5)
    rows, _ = index.search(queries, 20)
    wanted = exact(queries, vectors, 20)
    found = np.mean([len(set(a) & set(b)) / 20 for a, b in zip(rows.tolist(), wanted.tolist(), strict=True)])
    assert not index.exact
    assert found > 0.8
    assert index.recall(queries, 20, VectorIndex.build(vectors)) == pytest.approx(found, abs=1e-9)


@pytest.mark.parametrize("flat_below", [5_000, 500])
def test_one_seed_one_index_one_answer_in_any_batch(flat_below: int, tmp_path: Path) -> None:
    """Built twice, written and read, asked one by one: always the same rows and the same scores to the last bit."""
    vectors, queries = directions(2_000, 16, 6), directions(64, 16, 7)
    index = VectorIndex.build(vectors, flat_below=flat_below, seed=5)
    index.save(tmp_path / "index.faiss")
    together = index.search(queries, 15)
    others = [VectorIndex.build(vectors, flat_below=flat_below, seed=5), VectorIndex.load(tmp_path / "index.faiss")]
    for other in others:
        np.testing.assert_array_equal(other.search(queries, 15)[0], together[0])
    for user in range(len(queries)):
        rows, scores = index.search(queries[user : user + 1], 15)
        np.testing.assert_array_equal(rows[0], together[0][user])
        np.testing.assert_array_equal(scores[0], together[1][user])


def test_equal_vectors_come_in_the_order_of_their_rows() -> None:
    """Thirty items with one vector: rows ascend."""
    vectors = np.tile(directions(1, 16, 8), (30, 1))
    rows, _ = VectorIndex.build(vectors).search(vectors[:2], 30)
    assert rows.tolist() == [list(range(30))] * 2


def test_more_asked_than_there_is() -> None:
    """Behind the last row there is -1 with score 0."""
    rows, scores = VectorIndex.build(directions(3, 16, 9)).search(directions(1, 16, 9), 5)
    assert sorted(rows[0, :3].tolist()) == [0, 1, 2]
    assert rows[0, 3:].tolist() == [-1, -1]
    assert scores[0, 3:].tolist() == [0.0, 0.0]


def test_a_broken_file_is_an_os_error(tmp_path: Path) -> None:
    """A file that FAISS did not write is refused."""
    (tmp_path / "index.faiss").write_bytes(b"no index")
    with pytest.raises(OSError, match="not a readable FAISS index"):
        VectorIndex.load(tmp_path / "index.faiss")


def test_new_rows_are_searched_exactly() -> None:
    """Of the rows from 100 on, available and on the user's side, the nearest, best first."""
    vectors, queries = directions(160, 16, 10), directions(20, 16, 11)
    available = np.ones(160, np.bool_)
    available[110:120] = False
    rows, scores = nearest_of(queries, vectors, np.arange(100, 160), available=available, keys=np.arange(160), k=8)
    for user in range(20):
        near = queries[user].astype(np.float64) @ vectors.astype(np.float64).T
        fitting = [row for row in np.argsort(-near).tolist() if row >= 100 and available[row] and near[row] > 0][:8]
        assert rows[user][rows[user] >= 0].tolist() == fitting
        np.testing.assert_allclose(scores[user][: len(fitting)], near[fitting], atol=1e-5)


def test_equal_inner_products_are_listed_in_the_order_of_their_rows() -> None:
    """However FAISS finds them: rows 0..9 are one vector, 10..19 another, and behind the last there is nothing."""
    vectors = np.repeat(np.eye(2, dtype=np.float32), 10, axis=0)
    index = VectorIndex.build(vectors[np.arange(20)])
    rows, scores = index.search(np.array([[0.2, 0.9], [0.9, 0.2]], np.float32), 23)
    assert rows.tolist() == [[*range(10, 20), *range(10), -1, -1, -1], [*range(20), -1, -1, -1]]
    assert scores[0].tolist() == [*[np.float32(0.9)] * 10, *[np.float32(0.2)] * 10, 0.0, 0.0, 0.0]


def test_every_row_stands_in_the_list_of_its_nearest_centre() -> None:
    """Once, and of the centres none is nearer in double precision."""
    vectors = directions(6_000, 16, 9)
    index = VectorIndex.build(vectors).index
    centres = index.quantizer.reconstruct_n(0, index.nlist).astype(np.float64)
    held = {
        int(row): number
        for number in range(index.nlist)
        if (size := index.invlists.list_size(number))
        for row in faiss.rev_swig_ptr(index.invlists.get_ids(number), size)
    }
    near = vectors.astype(np.float64) @ centres.T
    assert sorted(held) == list(range(6_000)) and index.ntotal == 6_000
    own = near[np.arange(6_000), [held[row] for row in range(6_000)]]
    np.testing.assert_allclose(own, near.max(axis=1), atol=1e-6)
