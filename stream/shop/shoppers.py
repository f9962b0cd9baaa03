"""How simulated shoppers behave. Pure: seed, times and the lists they are shown are arguments.

A visit is a walk from item to item: mostly along planted complements, else within the kind, back to what was seen, or
to the favourite departments. A shopper who was shown a list since the last step may take an item of it that fits.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from stream.shop.delivery import OutgoingEvent
from stream.shop.world import COMPLEMENT_WEIGHTS, Good, Shopper, World

FOLLOW, ALIKE, BACK = 0.55, 0.12, 0.08  # complement, same kind, something seen in this visit; the rest is taste
LEAVE = 0.1  # after each step
CART, BUY, REMOVE, DISLIKE = 0.2, 0.5, 0.15, 0.01
THINK_SECONDS = 4.0  # between two steps of a visit, on average
REACT = 0.4  # looks at the list shown
LOOKED_AT = 10  # places of a list that are looked at
FITS_TASTE = 0.1  # takes an item that is merely of a favourite department


@dataclass(frozen=True)
class ShownList:
    """A list that a shopper received."""

    recommendation_id: str
    item_ids: Sequence[str]


@dataclass
class Visit:
    """A shopper in the shop."""

    shopper: Shopper
    session_id: str
    seen: list[int] = field(default_factory=list)  # numbers of goods, newest last
    pending: str | None = None  # what follows on the last item: cart, purchase, remove


class Crowd:
    """All shoppers. `step` gives the next event; the same seed, times and lists give the same events."""

    def __init__(self, world: World, seed: int, run: str) -> None:
        self.world = world
        self.on_sale = world.on_sale_at_first
        self._rng = random.Random(f"{seed}-crowd")
        self._run = run
        self._waiting: list[tuple[int, int, Visit]] = []  # by the time of their next step
        self._activity = list(accumulate(shopper.activity for shopper in world.shoppers))
        self._inside: set[str] = set()
        self._events = self._visits = 0

    def release(self) -> Good | None:
        """Puts the next new item on sale, None when all are."""
        if self.on_sale >= len(self.world.goods):
            return None
        self.on_sale += 1
        return self.world.goods[self.on_sale - 1]

    def step(self, now: int, shown: dict[str, ShownList]) -> OutgoingEvent:
        """The next event at `now` (epoch ms): of the visitor who has thought longest, else of one who comes in.

        `shown` holds the newest unlooked-at list of each user; a list that was looked at is taken out.
        """
        visit = self._next_visit(now)
        event = self._act(visit, now, shown)
        if visit.pending is None and self._rng.random() < LEAVE:
            self._inside.discard(visit.shopper.user_id)
        else:
            ready = now + int(self._rng.expovariate(1 / THINK_SECONDS) * 1000)
            heapq.heappush(self._waiting, (ready, self._events, visit))
        return event

    def _next_visit(self, now: int) -> Visit:
        if self._waiting and (self._waiting[0][0] <= now or len(self._inside) >= len(self.world.shoppers)):
            return heapq.heappop(self._waiting)[2]
        shopper = self._rng.choices(self.world.shoppers, cum_weights=self._activity)[0]
        if shopper.user_id in self._inside:
            shopper = next(other for other in self.world.shoppers if other.user_id not in self._inside)
        self._inside.add(shopper.user_id)
        self._visits += 1
        return Visit(shopper, f"{self._run}-visit-{self._visits}")

    def _act(self, visit: Visit, now: int, shown: dict[str, ShownList]) -> OutgoingEvent:
        event_type, recommendation_id = visit.pending or "click", None
        if visit.pending is None:
            taken = self._take_from(shown.pop(visit.shopper.user_id, None), visit)
            if taken is None:
                number = self._wander(visit, now)
            else:
                number, recommendation_id = taken
            visit.seen.append(number)
            if self._rng.random() < DISLIKE:
                event_type = "dislike"
        visit.pending = self._afterwards(event_type)
        good = self.world.goods[visit.seen[-1]]
        self._events += 1
        bought = event_type in ("cart", "purchase")
        return OutgoingEvent(
            user_id=visit.shopper.user_id,
            item_id=good.item.item_id,
            event_type=event_type,
            event_id=f"{self._run}-{self._events}",
            timestamp=now,
            session_id=visit.session_id,
            quantity=1.0 if bought else None,
            price=good.item.price if bought else None,
            currency=good.item.currency if bought else None,
            recommendation_id=recommendation_id,
        )

    def _afterwards(self, event_type: str) -> str | None:
        chance = self._rng.random()
        if event_type == "click":
            return "cart" if chance < CART else None
        if event_type == "cart":
            return "purchase" if chance < BUY else "remove" if chance < BUY + REMOVE else None
        return None

    def _take_from(self, shown: ShownList | None, visit: Visit) -> tuple[int, str] | None:
        """The first item of the list that fits, if he looks: a complement of what he has just seen, or to his taste."""
        if shown is None or self._rng.random() > REACT:
            return None
        wanted = {number for seen in visit.seen[-2:] for number in self.world.complements[seen]}
        for item_id in shown.item_ids[:LOOKED_AT]:
            number = self.world.numbers.get(item_id)
            if number is None or number in visit.seen[-5:]:
                continue
            good = self.world.goods[number]
            taste = good.department in visit.shopper.departments and good.style in visit.shopper.styles
            if number in wanted or (taste and self._rng.random() < FITS_TASTE):
                return number, shown.recommendation_id
        return None

    def _wander(self, visit: Visit, now: int) -> int:
        chance = self._rng.random()
        if visit.seen and chance < FOLLOW:
            options = self.world.complements[visit.seen[-1]]
            number = self._rng.choices(options, weights=COMPLEMENT_WEIGHTS[: len(options)])[0] if options else -1
        elif visit.seen and chance < FOLLOW + ALIKE:
            number = self.world.wanted(self._rng, self.world.goods[visit.seen[-1]].kind).number
        elif visit.seen and chance < FOLLOW + ALIKE + BACK:
            number = self._rng.choice(visit.seen)
        else:
            number = self._by_taste(visit.shopper, now)
        return number if 0 <= number < self.on_sale else self._by_taste(visit.shopper, now)

    def _by_taste(self, shopper: Shopper, now: int) -> int:
        """An item of a favourite department (four of five times) in fashion, of a favourite style if there is one."""
        departments = shopper.departments if self._rng.random() < 0.8 else tuple(sorted(set(self.world.kinds.values())))
        weights = [self.world.trend(department, now) for department in departments]
        department = self._rng.choices(departments, weights=weights)[0]
        kinds = [kind for kind, home in self.world.kinds.items() if home == department]
        tries = [self.world.wanted(self._rng, self._rng.choice(kinds)) for _ in range(6)]
        on_sale = [good for good in tries if good.number < self.on_sale]
        favourite = [good for good in on_sale if good.style in shopper.styles]
        return (favourite or on_sale or self.world.goods[:1])[0].number
