"""The simulated shop's goods and the structure planted in them. Pure: everything follows from the seed.

Planted, and so to be found by who watches only the events:

* **complements**: each item has four that follow it, of kinds that go with its kind, mostly of its style;
* **departments and styles**: shoppers favour two departments and two styles each;
* **popularity**: within a kind, items are wanted by Zipf's law;
* **trends**: departments come and go in slow waves, each with its own phase;
* **new items**: a tenth of the goods is not on sale at first, and arrives over time.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from itertools import accumulate

from stream.shop.goods import BRANDS, DEPARTMENTS, LOOKS, STYLES
from stream.wire.messages import Item

COMPLEMENT_WEIGHTS = (8, 4, 2, 1)  # of an item's complements, the closest first
NEW_SHARE = 0.1
TREND_MS = 900_000  # a department's wave
TREND_SWING = 0.6


@dataclass(frozen=True)
class Good:
    """One item of the shop and where it belongs."""

    number: int
    item: Item
    department: str
    kind: str
    style: str


@dataclass(frozen=True)
class Shopper:
    """What one shopper likes; `activity` is how often he comes, relative to others."""

    user_id: str
    departments: tuple[str, ...]
    styles: tuple[str, ...]
    activity: float


class World:
    """Goods, shoppers and the structure between them, made from a seed."""

    def __init__(self, seed: int, items: int, users: int) -> None:
        rng = random.Random(seed)
        self.kinds = {kind: department for department, kinds in DEPARTMENTS.items() for kind in kinds}
        self.goods = _make_goods(rng, items)
        self.on_sale_at_first = max(1, items - int(items * NEW_SHARE))
        self.by_kind: dict[str, list[Good]] = {kind: [] for kind in self.kinds}
        for good in self.goods:
            self.by_kind[good.kind].append(good)
        self._wanted = {
            kind: list(accumulate(1 / (place + 1) for place in range(len(goods))))
            for kind, goods in self.by_kind.items()
        }
        self.complements = [_complements(rng, good, self.by_kind) for good in self.goods]
        self.numbers = {good.item.item_id: good.number for good in self.goods}
        self.shoppers = [_make_shopper(rng, number) for number in range(users)]
        self._phases = {department: rng.random() for department in DEPARTMENTS}

    def trend(self, department: str, moment: int) -> float:
        """How much a department is wanted at a moment (epoch ms), around 1."""
        wave = moment / TREND_MS + self._phases[department]
        return 1.0 + TREND_SWING * math.sin(2 * math.pi * wave)

    def wanted(self, rng: random.Random, kind: str) -> Good:
        """An item of a kind by popularity."""
        return rng.choices(self.by_kind[kind], cum_weights=self._wanted[kind])[0]

    def title(self, item_id: str) -> str:
        """The title of an item, its id when it is not ours."""
        number = self.numbers.get(item_id)
        return item_id if number is None else self.goods[number].item.title or item_id


def _make_goods(rng: random.Random, count: int) -> list[Good]:
    """Kinds take turns so that each has its share; the order within a kind is its order of popularity."""
    kinds = [(department, kind) for department, found in DEPARTMENTS.items() for kind in found]
    looks = {kind: rng.sample([(style, look) for style in STYLES for look in LOOKS], 320) for _, kind in kinds}
    numbers = list(range(count))
    rng.shuffle(numbers)  # ids say nothing of kind or popularity
    goods = []
    for place, number in enumerate(numbers):
        department, kind = kinds[place % len(kinds)]
        series, again = divmod(place // len(kinds), 320)[::-1]
        style, look = looks[kind][series]
        price = DEPARTMENTS[department][kind][0] * math.exp(rng.gauss(0, 0.3))
        title = f"{style} {look} {kind}" + (f" No. {again + 1}" if again else "")
        item = Item(
            item_id=f"sku-{number:05d}",
            title=title,
            category=[department, kind],
            brand=rng.choice(BRANDS),
            price=round(price, 2),
            currency="EUR",
        )
        goods.append(Good(number, item, department, kind, style))
    return sorted(goods, key=lambda good: good.number)


def _complements(rng: random.Random, good: Good, by_kind: dict[str, list[Good]]) -> list[int]:
    """Four items that follow this one, half of each kind that goes with its kind, its own style first."""
    chosen: list[int] = []
    kinds = DEPARTMENTS[good.department][good.kind][1]
    for turn in range(len(COMPLEMENT_WEIGHTS)):
        pool = [other for other in by_kind[kinds[turn % len(kinds)]] if other.number not in chosen]
        same_style = [other for other in pool if other.style == good.style]
        if same_style or pool:
            chosen.append(rng.choice(same_style or pool).number)
    return chosen


def _make_shopper(rng: random.Random, number: int) -> Shopper:
    return Shopper(
        user_id=f"shopper-{number:05d}",
        departments=tuple(rng.sample(list(DEPARTMENTS), 2)),
        styles=tuple(rng.sample(STYLES, 2)),
        activity=rng.paretovariate(1.5),
    )
