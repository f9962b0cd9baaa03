"""The catalogue takes in records of `items` and knows which pass a filter."""

from __future__ import annotations

import numpy as np

from models.features import EMPTY, Features, featurise
from stream.knowledge.catalogue import Catalogue, content_of
from stream.wire.messages import Filters, Item, PriceRange
from tests.worlds import catalogue_of

MUG = Item("mug", title="Red mug", category=["home", "kitchen"], brand="Acme", price=4.5, tags=["new", "gift"])
LAMP = Item("lamp", category="home", brand="Lux", price=20.0, available=False)
BOOK = Item("book", category=["media", "home"], price=9.0)
BARE = Item("bare")


def passing(catalogue: Catalogue, filters: Filters) -> set[str]:
    return {name for name, fits in zip(catalogue.ids(), catalogue.matching(filters), strict=True) if fits}


def test_items_come_back_as_they_were() -> None:
    """Every field survives; what was never heard of is None; the position is one past the newest offset."""
    catalogue = catalogue_of(MUG, LAMP, BARE)
    assert [catalogue.get("mug"), catalogue.get("lamp"), catalogue.get("bare")] == [MUG, LAMP, BARE]
    assert catalogue.get("never") is None
    assert list(catalogue.items()) == [MUG, LAMP, BARE]
    assert catalogue.position == {0: 3}
    assert len(catalogue) == 3


def test_a_tombstone_retires_and_a_new_record_revives() -> None:
    """After a tombstone an item is nowhere, one for an unknown item is harmless, a later record brings it back."""
    catalogue = catalogue_of(MUG, BARE)
    catalogue.apply(0, 2, "mug", None)
    catalogue.apply(1, 9, "ghost", None)
    assert catalogue.get("mug") is None
    assert passing(catalogue, Filters()) == {"bare"}
    assert [item.item_id for item in catalogue.items()] == ["bare"]
    assert (len(catalogue), catalogue.position) == (1, {0: 3, 1: 10})
    catalogue.apply(0, 3, "mug", MUG)
    assert passing(catalogue, Filters()) == {"mug", "bare"}
    assert len(catalogue) == 2


def test_filters_by_hand() -> None:
    """Any element of the path, any of several, brands, tags, inclusive prices; without the attribute nothing passes."""
    catalogue = catalogue_of(MUG, LAMP, BOOK, BARE)
    assert passing(catalogue, Filters(category="home")) == {"mug", "book"}
    assert passing(catalogue, Filters(category=["kitchen", "media"])) == {"mug", "book"}
    assert passing(catalogue, Filters(category="nowhere")) == set()
    assert passing(catalogue, Filters(brand=["Acme", "Lux"])) == {"mug"}
    assert passing(catalogue, Filters(tags=["gift"])) == {"mug"}
    assert passing(catalogue, Filters(price=PriceRange(min=4.5, max=9.0))) == {"mug", "book"}
    assert passing(catalogue, Filters(price=PriceRange(max=5.0))) == {"mug"}
    assert passing(catalogue, Filters(price=PriceRange())) == {"mug", "book"}
    assert passing(catalogue, Filters(category="home", price=PriceRange(min=5.0))) == {"book"}


def test_a_changed_record_changes_what_it_passes() -> None:
    """The newest record counts, attribute by attribute."""
    catalogue = catalogue_of(MUG)
    catalogue.apply(0, 1, "mug", Item("mug", category="sale"))
    assert passing(catalogue, Filters(category="sale")) == {"mug"}
    for gone in (Filters(category="home"), Filters(brand="Acme"), Filters(tags=["gift"]), Filters(price=PriceRange())):
        assert passing(catalogue, gone) == set()


def same(found: Features, expected: Features) -> bool:
    pairs = ((getattr(found, name), getattr(expected, name)) for name in Features._fields)
    return all(np.array_equal(ours, theirs) for ours, theirs in pairs)


def test_features_are_those_of_the_items_as_they_are_now() -> None:
    """Asked for again and again while items change, retire and come back: what `featurise` makes of what is known."""
    catalogue = catalogue_of(MUG, LAMP, BARE)
    asked = ["bare", "mug", "never", "lamp"]
    for record in (MUG, Item("mug", title="Blue cup", price=900.0), None, MUG):
        catalogue.apply(0, catalogue.position[0], "mug", record)
        contents = [EMPTY if item is None else content_of(item) for item in map(catalogue.get, asked)]
        assert same(catalogue.features(asked, 512), featurise(contents, 512))
        assert same(catalogue.features(asked, 64), featurise(contents, 64))


def test_categories_are_paths() -> None:
    """As told, empty where nothing is known."""
    catalogue = catalogue_of(MUG, LAMP, BARE)
    assert catalogue.categories(["lamp", "never", "mug", "bare"]) == [("home",), (), ("home", "kitchen"), ()]
    assert Catalogue().categories(["mug"]) == [()]
    catalogue.apply(0, 9, "mug", None)
    assert catalogue.categories(["mug"]) == [()]


def test_what_may_be_recommended_in_the_order_of_hearing() -> None:
    """Neither what is marked as unavailable nor what is retired."""
    catalogue = catalogue_of(MUG, LAMP, BARE)
    assert catalogue.available_ids() == ["mug", "bare"]
    catalogue.apply(0, 9, "mug", None)
    assert catalogue.available_ids() == ["bare"]
    assert [catalogue.holds(name) for name in ("mug", "lamp", "never")] == [False, True, False]
