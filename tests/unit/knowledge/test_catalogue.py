"""The catalogue takes in records of `items` and knows which pass a filter."""

from __future__ import annotations

from stream.knowledge.catalogue import Catalogue
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
