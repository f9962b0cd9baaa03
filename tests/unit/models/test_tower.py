"""The item tower: content for items that nobody has touched, identity for those that many have."""

from __future__ import annotations

import numpy as np
import pytest

from models.features import PRICE_BUCKETS, ItemContent, featurise
from models.tower import ItemTower

SIZE, BUCKETS = 32, 4_096


def tower(items: int, seed: int = 0) -> ItemTower:
    rng = np.random.default_rng(seed)
    return ItemTower(
        rng.normal(size=(items, SIZE)),
        rng.normal(size=(BUCKETS, SIZE)),
        0.1 * rng.normal(size=(PRICE_BUCKETS, SIZE)),
        halfway=3.0,
    )


def test_an_unseen_item_with_the_text_of_a_seen_one_is_near_it() -> None:
    """Of 50 items, the one with the same words is the nearest to a new item, known by content alone."""
    contents = [ItemContent(f"word{number} thing{number} other{number}", ["all"], "brand") for number in range(50)]
    model = tower(50)
    vectors = model.encode_items(np.full(50, 1), featurise(contents, BUCKETS))
    new = model.encode_features(featurise([contents[17]], BUCKETS))
    assert int((vectors @ new[0]).argmax()) == 17


def test_an_item_without_events_is_its_content_and_one_with_many_is_its_identity() -> None:
    """The gate is 0 at no events, 1/2 at `halfway`, and goes to 1."""
    model = tower(3)
    features = featurise([ItemContent("red mug")] * 3, BUCKETS)
    vectors = model.encode_items(np.array([0, 3, 10**9]), features)
    content = model.content(features)[0]
    assert np.allclose(vectors[0], content / np.linalg.norm(content), atol=1e-6)
    half = model.identities[1] / 2 + content
    assert np.allclose(vectors[1], half / np.linalg.norm(half), atol=1e-5)
    full = model.identities[2] + content
    assert np.allclose(vectors[2], full / np.linalg.norm(full), atol=1e-5)


def test_an_item_of_which_nothing_is_known_has_the_zero_vector() -> None:
    """No content, no row: not retrievable by its vector."""
    nothing = featurise([ItemContent(), ItemContent(title="  ", price=-1.0)], BUCKETS)
    assert not tower(1).encode_features(nothing).any()


def test_content_is_the_mean_of_the_words_and_the_price() -> None:
    """Checked against a sum written out by hand."""
    model = tower(1)
    features = featurise([ItemContent("a b", price=4.0), ItemContent("c")], BUCKETS)
    expected = (model.tokens[features.tokens[0]] + model.tokens[features.tokens[1]]) / 2 + model.prices[13]
    assert np.allclose(model.content(features)[0], expected, atol=1e-6)
    assert np.allclose(model.content(features)[1], model.tokens[features.tokens[2]], atol=1e-6)


@pytest.mark.parametrize("price", [float("nan"), float("inf"), -2.0, 0.0, None])
def test_a_price_that_is_none_is_no_price(price: float | None) -> None:
    """Broken prices count as missing ones."""
    assert featurise([ItemContent(price=price)], BUCKETS).prices.tolist() == [0]


def test_arrays_bring_the_same_tower_back() -> None:
    """arrays() and from_arrays() are inverse."""
    model = tower(4)
    again = ItemTower.from_arrays(model.arrays())
    features = featurise([ItemContent("x", price=1.0)] * 4, BUCKETS)
    assert np.array_equal(model.encode_items(np.arange(4), features), again.encode_items(np.arange(4), features))
