"""The messages of Alluvium's topics, as JSON (UTF-8, unknown fields ignored). See docs/messages.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

RequestKind = Literal["user", "item", "search", "session"]
Scalar = str | int | float | bool | None


class RawEvent(msgspec.Struct, frozen=True):
    """An event as the shop writes it; `decoding` turns it into an `Event` or a rejection."""

    user_id: str
    item_id: str
    event_type: str
    event_id: str | None = None
    timestamp: str | int | float | None = None
    session_id: str | None = None
    quantity: float | None = None
    price: float | None = None
    currency: str | None = None
    query: str | None = None
    recommendation_id: str | None = None
    context: dict[str, Scalar] | None = None


class Event(msgspec.Struct, frozen=True):
    """A valid event: `event_type` is the canonical name of the settings' table, `timestamp` is epoch milliseconds.

    `event_id` is None where the shop sent none: such an event is identified by its topic, partition and offset.
    """

    user_id: str
    item_id: str
    event_type: str
    timestamp: int
    event_id: str | None = None
    session_id: str | None = None
    quantity: float | None = None
    price: float | None = None
    recommendation_id: str | None = None


class Item(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What the catalogue knows of an item. Everything but `item_id` may be missing."""

    item_id: str
    title: str | None = None
    description: str | None = None
    category: str | list[str] | None = None
    brand: str | None = None
    price: float | None = None
    currency: str | None = None
    available: bool = True
    tags: list[str] | None = None
    published_at: str | int | float | None = None
    url: str | None = None
    image_url: str | None = None
    embeddings: dict[str, list[float]] | None = None

    def category_path(self) -> tuple[str, ...]:
        """The category from the widest to the narrowest, empty when unknown."""
        if self.category is None:
            return ()
        return (self.category,) if isinstance(self.category, str) else tuple(self.category)


class PriceRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Inclusive bounds; an item without a price is in no range."""

    min: float | None = None
    max: float | None = None


class Filters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a list may hold. `category` matches any element of an item's category path.

    `exclude_purchased`: whether to leave out what the user has bought; "auto": only what is rarely bought twice; None:
    as the settings say.
    """

    category: str | list[str] | None = None
    brand: str | list[str] | None = None
    price: PriceRange | None = None
    tags: list[str] | None = None
    exclude_items: list[str] = []
    exclude_purchased: bool | Literal["auto"] | None = None
    exclude_seen: bool = False


NO_FILTERS = Filters()


class Request(msgspec.Struct, frozen=True):
    """A question on the `requests` topic, answered on `recommendations` under the request's own key.

    `intent` is the event type that the list is for; None: as the settings say.
    """

    request_id: str
    kind: RequestKind = "user"
    user_id: str | None = None
    item_id: str | None = None
    query: str | None = None
    history: list[RawEvent] | None = None
    count: int = 20
    filters: Filters = NO_FILTERS
    explain: bool = False
    intent: str | None = None


class Reason(msgspec.Struct, frozen=True):
    """Why an item is in a list: the items of the user's history it follows from."""

    because: list[str]


class RecommendedItem(msgspec.Struct, frozen=True):
    """One place of a list. `propensity` is the probability with which this item was put in this place."""

    item_id: str
    score: float
    source: Sequence[str]
    propensity: float = 1.0
    reason: Reason | None = None


class EventPosition(msgspec.Struct, frozen=True):
    """Where the newest event that a list has seen stands in the log."""

    topic: str
    partition: int
    offset: int


class Provenance(msgspec.Struct, frozen=True):
    """All that a list was made from. `artifact` and `parent` are None before the first artifact."""

    artifact: str | None
    parent: str | None
    event: EventPosition | None
    settings: str
    seed: int


class Problem(msgspec.Struct, frozen=True):
    """Why a request could not be answered."""

    code: str
    message: str


class Recommendation(msgspec.Struct, frozen=True):
    """The list for one change of a user's state, or for one request."""

    recommendation_id: str
    kind: str
    user_id: str | None
    request_id: str | None
    items: list[RecommendedItem]
    provenance: Provenance
    event_timestamp: str | None
    generated_at: str
    fallback: str | None = None
    error: Problem | msgspec.UnsetType = msgspec.UNSET


class ArtifactAnnouncement(msgspec.Struct, frozen=True):
    """What the `artifacts` topic says of a channel: the artifact to serve. `manifest_sha256` pins its content."""

    artifact: str
    parent: str | None
    url: str
    manifest_sha256: str
    announced_at: str
    reason: str = "refresh"
