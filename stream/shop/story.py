"""One shopper's story in words: what they did, what they were offered, and why. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stream.shop.ledger import Ledger
from stream.wire.messages import Event, RecommendedItem

OFFERED = 4
RECENT = 25  # shoppers with the newest lists, of whom one is told
DEEDS = {
    "click": "looked at",
    "cart": "put into the cart",
    "purchase": "bought",
    "remove": "took out of the cart",
    "dislike": "disliked",
}
WHY = {
    "covisitation": "often follows what they did",
    "sessions": "chosen in visits like theirs",
    "ann": "near to their taste",
    "recent": "they were at it before",
    "trending": "in demand now",
    "new": "new in the shop",
}


def choose(ledger: Ledger, before: str | None) -> str | None:
    """A shopper worth telling of: a personal list, and the most varied deeds; not the one told of before."""
    candidates = [
        (
            len({event.item_id for event in ledger.stories[user]}),
            len({e.event_type for e in ledger.stories[user]}),
            user,
        )
        for user, newest in list(ledger.newest_lists.items())[-RECENT:]
        if user != before and user in ledger.stories and newest.fallback is None
    ]
    return max(candidates)[2] if candidates else None


def tell(ledger: Ledger, user: str, title: Callable[[str], str]) -> list[str]:
    """The story as lines; the explained answer to a request if it is as fresh as the newest list."""
    newest = ledger.newest_lists.get(user)
    explained = ledger.explained.get(user)
    if explained is not None and explained.items:
        newest = explained
    lines = [f"{user} {_deeds(list(ledger.stories[user]), title)}."]
    if newest is None or not newest.items:
        return lines
    offers = newest.items[:OFFERED]
    lines.append("Offered now:")
    lines += [f"  {place}. {title(offer.item_id)} ({_why(offer, title)})" for place, offer in enumerate(offers, 1)]
    return lines


def _deeds(events: Sequence[Event], title: Callable[[str], str]) -> str:
    last = events[-3:]
    return ", then ".join(f"{DEEDS.get(event.event_type, event.event_type)} “{title(event.item_id)}”" for event in last)


def _why(offer: RecommendedItem, title: Callable[[str], str]) -> str:
    if offer.reason is not None and offer.reason.because:
        cause = offer.reason.because[0]
        return WHY["recent"] if cause == offer.item_id else f"because of “{title(cause)}”"
    reasons = [WHY.get(source, source) for source in offer.source]
    return ", ".join(reasons[:2]) if reasons else "popular"
