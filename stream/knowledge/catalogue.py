"""The catalogue: every item ever heard of on the `items` topic, and which of them a filter lets through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from math import nan
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from models.features import Features, ItemContent, hashed_words, joined, price_bucket
from stream.wire.messages import Filters, Item

Bools = npt.NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Item)


class Column(Generic[Scalar]):
    """A numpy array that grows at its end by doubling; reading is a view on what is there."""

    def __init__(self, dtype: type[Scalar], values: npt.ArrayLike = ()) -> None:
        self._values: npt.NDArray[Scalar] = np.array(values, dtype)
        self._size = len(self._values)

    def __len__(self) -> int:
        return self._size

    def append(self, value: Any) -> None:  # noqa: ANN401  # whatever numpy takes for the dtype
        """Adds one value."""
        size = self._size
        if size == len(self._values):
            self._grow(size + 1)
        self._values[size] = value
        self._size = size + 1

    def extend(self, values: npt.NDArray[Scalar]) -> None:
        """Adds many values."""
        size = self._size + len(values)
        if size > len(self._values):
            self._grow(size)
        self._values[self._size : size] = values
        self._size = size

    def _grow(self, least: int) -> None:
        grown = np.zeros(max(64, least, 2 * self._size), self._values.dtype)
        grown[: self._size] = self._values[: self._size]
        self._values = grown

    def __setitem__(self, at: int, value: Any) -> None:  # noqa: ANN401  # whatever numpy takes for the dtype
        self._values[at] = value

    def __getitem__(self, at: int) -> Scalar:
        return self.values[at]  # type: ignore[no-any-return]

    @property
    def values(self) -> npt.NDArray[Scalar]:
        """The values so far; not to be kept, a later append may leave it behind."""
        return self._values[: self._size]


class _Codes:
    """Numbers for tuples of names (a category path, a brand, a set of tags), and which numbers hold a given name."""

    def __init__(self) -> None:
        self._codes: dict[tuple[str, ...], int] = {(): 0}
        self._holding: dict[str, list[int]] = {}

    def code(self, names: tuple[str, ...]) -> int:
        known = self._codes.get(names)
        if known is not None:
            return known
        code = self._codes[names] = len(self._codes)
        for name in set(names):
            self._holding.setdefault(name, []).append(code)
        return code

    def names(self) -> list[tuple[str, ...]]:
        """The names of each code."""
        return list(self._codes)

    def holding(self, wanted: str | Sequence[str]) -> Bools:
        """For each code whether it holds any of the wanted names."""
        result = np.zeros(len(self._codes), np.bool_)
        for name in (wanted,) if isinstance(wanted, str) else wanted:
            result[self._holding.get(name, [])] = True
        return result


class Catalogue:
    """Items by their id, packed, and columns of what filters ask for, numbered in the order of first hearing."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._packed: list[bytes | None] = []
        self._live = 0
        self._available = Column(np.bool_)
        self._paths, self._brands, self._tags = Column(np.int32), Column(np.int32), Column(np.int32)
        self._prices = Column(np.float64)
        self._words: list[bytes | None] = []  # hashed, None as long as nobody has asked
        self._price_buckets = Column(np.int64)
        self._path_codes, self._brand_codes, self._tag_codes = _Codes(), _Codes(), _Codes()
        self._position: dict[int, int] = {}
        self._columns: tuple[Column[Any], ...] = (
            self._available,
            self._paths,
            self._brands,
            self._tags,
            self._prices,
            self._price_buckets,
        )

    def __len__(self) -> int:
        return self._live

    @property
    def position(self) -> dict[int, int]:
        """The next offset to read of each partition of `items`."""
        return dict(self._position)

    def apply(self, partition: int, offset: int, item_id: str, item: Item | None) -> None:
        """Takes in one record of `items`; None is a tombstone and retires the item."""
        self._position[partition] = max(self._position.get(partition, 0), offset + 1)
        number = self._numbers.setdefault(item_id, len(self._packed))
        if number == len(self._packed):
            self._packed.append(None)
            self._words.append(None)
            for column, value in zip(self._columns, self._attributes(item), strict=True):
                column.append(value)
        else:
            for column, value in zip(self._columns, self._attributes(item), strict=True):
                column[number] = value
        self._live += (item is not None) - (self._packed[number] is not None)
        self._packed[number] = None if item is None else _ENCODER.encode(item)
        self._words[number] = None

    def _attributes(self, item: Item | None) -> tuple[bool, int, int, int, float, int]:
        """What the columns hold of an item, in their order."""
        if item is None:
            return False, 0, 0, 0, nan, 0
        path = self._path_codes.code(item.category_path())
        brand = self._brand_codes.code((item.brand,)) if item.brand else 0
        tags = self._tag_codes.code(tuple(item.tags)) if item.tags else 0
        price = nan if item.price is None else item.price
        return item.available, path, brand, tags, price, price_bucket(item.price)

    def get(self, item_id: str) -> Item | None:
        """What is known of an item; None when it was never heard of or is retired."""
        packed = self._packed[self._numbers[item_id]] if item_id in self._numbers else None
        return None if packed is None else _DECODER.decode(packed)

    def items(self) -> Iterator[Item]:
        """All items that are not retired, in the order in which they were first heard of."""
        return (_DECODER.decode(packed) for packed in list(self._packed) if packed is not None)

    def ids(self) -> list[str]:
        """The ids of all items ever heard of, retired ones too, by their number."""
        return list(self._numbers)

    def number(self, item_id: str) -> int:
        """The number of an item, -1 when it was never heard of."""
        return self._numbers.get(item_id, -1)

    def holds(self, item_id: str) -> bool:
        """Whether an item was heard of and is not retired."""
        return item_id in self._numbers and self._packed[self._numbers[item_id]] is not None

    def available_ids(self) -> list[str]:
        """The ids of all items that may be recommended, in the order in which they were first heard of."""
        return list(compress(self._numbers, self._available.values.tolist()))

    def features(self, item_ids: Iterable[str], buckets: int) -> Features:
        """What the item tower reads of items, empty for one that is retired or was never heard of.

        The words of an item are looked at once, however often they are asked for, until it changes.
        """
        numbers = np.array([self._numbers.get(item_id, -1) for item_id in item_ids], np.int64)
        words = [self._words_of(number) for number in numbers.tolist()]
        known, prices = numbers >= 0, np.zeros(len(numbers), np.int64)
        prices[known] = self._price_buckets.values[numbers[known]]
        return joined(words, prices, buckets)

    def categories(self, item_ids: Iterable[str]) -> list[tuple[str, ...]]:
        """The category path of each item, empty where none is known."""
        paths = self._path_codes.names()
        numbers = [self._numbers.get(item_id, -1) for item_id in item_ids]
        return [paths[code] for code in np.append(self._paths.values, 0)[numbers].tolist()]

    def available(self, number: int) -> bool:
        """Whether the item of this number may be recommended: neither retired nor marked as unavailable."""
        return bool(self._available[number])

    def _words_of(self, number: int) -> bytes:
        packed = self._packed[number] if number >= 0 else None
        if packed is None:
            return b""
        words = self._words[number]
        if words is None:
            words = self._words[number] = hashed_words(content_of(_DECODER.decode(packed)))
        return words

    def matching(self, filters: Filters, numbers: npt.NDArray[np.int32] | None = None) -> Bools:
        """Which available items pass the filters on category, brand, price and tags: all by number, or these."""
        chosen: slice | npt.NDArray[np.int32] = slice(None) if numbers is None else numbers
        result = np.array(self._available.values[chosen])
        if filters.category:
            result &= self._path_codes.holding(filters.category)[self._paths.values[chosen]]
        if filters.brand:
            result &= self._brand_codes.holding(filters.brand)[self._brands.values[chosen]]
        if filters.tags:
            result &= self._tag_codes.holding(filters.tags)[self._tags.values[chosen]]
        if filters.price is not None:
            prices = self._prices.values[chosen]
            result &= ~np.isnan(prices)
            if filters.price.min is not None:
                result &= prices >= filters.price.min
            if filters.price.max is not None:
                result &= prices <= filters.price.max
        return result


def content_of(item: Item) -> ItemContent:
    """What the item tower reads of an item."""
    return ItemContent(item.title, item.category_path(), item.brand, item.price)


def asks_for_attributes(filters: Filters) -> bool:
    """Whether the filters ask for something that only an item of the catalogue can have."""
    return bool(filters.category or filters.brand or filters.tags or filters.price is not None)
