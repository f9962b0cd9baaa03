"""What an item's text, category, brand and price look like to the item tower: hashed tokens and a price bucket.

Stateless on purpose: an item that nobody has touched is encoded the second it appears, by any process, with nothing to
look up. Hashing to buckets: Weinberger et al., ICML 2009.
"""

from __future__ import annotations

import math
import re
import zlib
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

PIPELINE = "hashed-tokens-1"  # named in the artifact; a change of anything below is a new name
PRICE_BUCKETS = 48  # half powers of two, from 2**-4 to 2**19.5 units of currency; bucket 0 is "no price"
MOST_TOKENS = 64  # of one item; what stands later in a title says little
_WORD = re.compile(r"\w+")


class ItemContent(NamedTuple):
    """What the tower may know of an item: all of it may be missing."""

    title: str | None = None
    category: Sequence[str] = ()
    brand: str | None = None
    price: float | None = None


EMPTY = ItemContent()


class Features(NamedTuple):
    """Contents of n items: `tokens` (T,) hash buckets, `starts` (n + 1,) where each begins, `prices` (n,) buckets."""

    tokens: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    prices: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.prices)

    def known(self) -> npt.NDArray[np.bool_]:
        """Which items have any content at all."""
        return (np.diff(self.starts) > 0) | (self.prices > 0)


def words(content: ItemContent) -> list[str]:
    """The tokens of an item, each marked with its field.

    >>> words(ItemContent("Red Mug", ["Home", "Mugs"], "Acme", 2.5))
    ['t:red', 't:mug', 'c:home', 'c:mugs', 'b:acme']
    """
    found = [f"t:{word}" for word in _WORD.findall((content.title or "").lower())]
    found += [f"c:{part.strip().lower()}" for part in content.category]
    if content.brand:
        found.append(f"b:{content.brand.strip().lower()}")
    return found[:MOST_TOKENS]


def price_bucket(price: float | None) -> int:
    """Bucket of a price: 0 for none (or not finite, or not above zero), else 1..PRICE_BUCKETS-1 on a logarithmic scale.

    >>> price_bucket(None), price_bucket(1.0), price_bucket(2.0), price_bucket(1e12)
    (0, 9, 11, 47)
    """
    if price is None or not math.isfinite(price) or price <= 0:
        return 0
    return min(max(9 + math.floor(2 * math.log2(price)), 1), PRICE_BUCKETS - 1)


def featurise(contents: Iterable[ItemContent], buckets: int) -> Features:
    """Features of the contents, tokens hashed (CRC-32) to 0..buckets-1."""
    read = [(hashed_words(content), price_bucket(content.price)) for content in contents]
    return joined([found for found, _ in read], np.array([price for _, price in read], np.int64), buckets)


def hashed_words(content: ItemContent) -> bytes:
    """The CRC-32 of each token of an item, as packed 32-bit numbers."""
    return array("I", [zlib.crc32(word.encode()) for word in words(content)]).tobytes()


def joined(hashed: Sequence[bytes], prices: npt.NDArray[np.int64], buckets: int) -> Features:
    """Features of items from the `hashed_words` and the price bucket of each."""
    lengths = np.fromiter(map(len, hashed), np.int64, len(hashed)) // np.uint32().itemsize
    tokens = np.frombuffer(b"".join(hashed), np.uint32) % np.uint32(buckets)
    return Features(tokens.astype(np.int32), np.concatenate(([0], np.cumsum(lengths))), prices)
