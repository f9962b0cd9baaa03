"""The table of event types (names, weights, aliases). CONTRIBUTING.md says how to add one."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class EventType(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One kind of event. A positive weight makes it a target to learn and to score, otherwise it is context only; a
    negative one says that the user does not want the item.
    """

    name: str
    weight: float = 0.0
    aliases: list[str] = []


PURCHASE = "purchase"

DEFAULT_EVENT_TYPES = (
    EventType("click", 1.0, ["view", "pageview"]),
    EventType("cart", 3.0, ["addtocart", "add_to_cart"]),
    EventType(PURCHASE, 5.0, ["transaction", "buy", "order"]),
    EventType("remove"),
    EventType("dislike", -1.0),
)


class EventTypes:
    """Looks up event types by any of their names; codes are positions in the table."""

    def __init__(self, table: Sequence[EventType]) -> None:
        self.names = tuple(kind.name for kind in table)
        self.weights = tuple(kind.weight for kind in table)
        self._codes = {kind.name: code for code, kind in enumerate(table)}
        self._canonical: dict[str, str] = {}
        for kind in table:
            for name in (kind.name, *kind.aliases):
                if self._canonical.setdefault(name, kind.name) != kind.name:
                    raise ValueError(
                        f"event type {name!r} is named twice: in {self._canonical[name]!r} and in {kind.name!r}"
                    )
        if len(self._codes) != len(table):
            raise ValueError("an event type stands twice in the table")

    @property
    def unwanted(self) -> tuple[str, ...]:
        """The types of negative weight: the user does not want the item."""
        return tuple(name for name, weight in zip(self.names, self.weights, strict=True) if weight < 0)

    def canonical(self, name: str) -> str | None:
        """The canonical name for a name or an alias, None when unknown."""
        return self._canonical.get(name)

    def wanted(self, name: str) -> str | None:
        """The canonical name of a type that lists can be asked for: one of positive weight; None for any other name."""
        canonical = self.canonical(name)
        return canonical if canonical is not None and self.is_positive(canonical) else None

    def code(self, name: str) -> int:
        """The position of a canonical name in the table, -1 for a name that was once in it."""
        return self._codes.get(name, -1)

    def is_positive(self, name: str) -> bool:
        """Whether an event of this canonical type says that the user wanted the item."""
        code = self.code(name)
        return code >= 0 and self.weights[code] > 0
