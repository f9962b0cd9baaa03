"""What words mean before anything is learned, against a full SVD of the matrix written out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from models.encoder import normalise
from models.features import Features, ItemContent, featurise
from models.tower import ItemTower
from models.words import NORM, with_meaning

BUCKETS, SIZE = 512, 12


def given(seed: int = 1, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.1, (BUCKETS, size)).astype(np.float32)


def contents_of(tokens: np.ndarray, features: Features) -> np.ndarray:
    """The normalised content vectors of a tower with these tokens."""
    tower = ItemTower(np.zeros((len(features), tokens.shape[1])), tokens, np.zeros((48, tokens.shape[1])), 3.0)
    return normalise(tower.content(features))


def random_items(count: int, seed: int) -> Features:
    rng = np.random.default_rng(seed)
    texts = [" ".join(f"w{word}" for word in rng.zipf(1.3, 8).clip(1, 90)) for _ in range(count)]
    return featurise([ItemContent(text) for text in [*texts, None, ""]], BUCKETS)


def written_out(features: Features) -> np.ndarray:
    """The TF-IDF matrix, cell by cell, rows of length one."""
    described = np.flatnonzero(np.diff(features.starts))
    counts = np.zeros((len(described), BUCKETS))
    for row, item in enumerate(described):
        for token in features.tokens[features.starts[item] : features.starts[item + 1]]:
            counts[row, token] += 1
    standing_in = (counts > 0).sum(axis=0)
    weighted = np.where(counts > 0, 1.0, 0.0) * (np.log((1 + len(described)) / (1 + standing_in)) + 1)
    norms = np.sqrt((counts * weighted**2).sum(axis=1))
    return np.asarray(counts * weighted / norms[:, None])


def test_items_stand_where_the_full_svd_puts_them() -> None:
    """Items of twelve kinds with words of their own and some of all, in twelve dimensions: all cosines between their
    contents are those of the left singular vectors, whatever basis they are in.
    """
    rng = np.random.default_rng(2)
    kinds = [(kind, rng.permutation(8)[:6], rng.integers(40)) for kind in range(SIZE) for _ in range(8)]
    texts = [" ".join([f"any{other}", *(f"k{kind}w{word}" for word in words)]) for kind, words, other in kinds]
    features = featurise([ItemContent(text) for text in texts], BUCKETS)
    left, _, _ = np.linalg.svd(written_out(features), full_matrices=False)
    expected = normalise(left[:, :SIZE])
    found = contents_of(with_meaning(given(), features, seed=4), features)
    assert np.abs(found @ found.T - expected @ expected.T).max() < 0.05


def test_related_words_are_near_each_other_without_a_word_in_common() -> None:
    """Cups stand with saucers and saucers with mugs: a cup is nearer to a mug, with which it shares no word, than to
    any tool.
    """
    texts = ["cup saucer", "saucer mug", "cup saucer", "mug saucer", "drill hammer", "hammer saw", "saw drill"]
    features = featurise([ItemContent(text) for text in [*texts, "cup", "mug", "saw"]], BUCKETS)
    vectors = contents_of(with_meaning(given(size=2), features, seed=1), features)
    cup, mug, saw = vectors[-3:]
    assert cup @ mug > 0.9
    assert cup @ saw < 0.3


def test_it_is_the_same_each_time_and_of_the_size_it_says() -> None:
    """One seed, one result; items' contents have the root mean square NORM."""
    features = random_items(60, seed=3)
    tokens = with_meaning(given(), features, seed=4)
    assert np.array_equal(tokens, with_meaning(given(), features, seed=4))
    lengths = np.diff(features.starts)[:60, None]
    pairs = pairwise(features.starts[:61])
    sums = np.stack([tokens[features.tokens[begin:end]].sum(axis=0) for begin, end in pairs])
    assert np.sqrt(np.square(sums / lengths).sum(axis=1).mean()) == pytest.approx(NORM, rel=1e-4)


def test_words_that_no_item_has_stay_as_they_are_but_for_their_length() -> None:
    """An item that comes later may have them: they point somewhere. Without any item with words nothing changes."""
    features, start = random_items(60, seed=3), given()
    tokens = with_meaning(start, features, seed=4)
    unknown = np.setdiff1d(np.arange(BUCKETS), features.tokens)
    assert np.allclose(normalise(tokens[unknown]), normalise(start[unknown]), atol=1e-6)
    nothing = featurise([ItemContent(), ItemContent(price=3.0)], BUCKETS)
    assert np.array_equal(with_meaning(start, nothing, seed=4), start)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_items_than_dimensions_are_enough(count: int) -> None:
    """One, two, three items: everything is finite and different items are told apart."""
    features = featurise([ItemContent(f"a{number} b{number}") for number in range(count)], BUCKETS)
    vectors = contents_of(with_meaning(given(), features, seed=4), features)
    assert np.allclose(vectors @ vectors.T, np.eye(count), atol=1e-5)
