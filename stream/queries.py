"""What a list for a user is asked with: the same for a worker's list, for its scoring, and when it is made again."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from stream.knowledge.serving import Query
from stream.settings import Settings
from stream.state.user_state import UserState
from stream.wire.messages import Filters


@dataclass(frozen=True)
class EventQueries:
    """How the settings have lists for events asked for."""

    count: int
    filters: Filters
    intent: str | None

    @classmethod
    def of(cls, settings: Settings) -> EventQueries:
        """What the settings say."""
        return cls(settings.recommend.count, event_filters(settings), settings.intent())

    def ask(self, state: UserState) -> Query:
        """What the list for an event is asked with, from the state just after it."""
        return state_query(state, count=self.count, filters=self.filters, explain=False, intent=self.intent)


def event_filters(settings: Settings) -> Filters:
    """The filters of lists for events."""
    return Filters(exclude_purchased=settings.recommend.exclude_purchased)


def state_query(
    state: UserState, *, count: int, filters: Filters, explain: bool, intent: str | None, now: int | None = None
) -> Query:
    """What a list for a user is asked with. `now` defaults to the time of the newest applied event.

    It shares the state's columns: whoever keeps it while the state goes on must copy the state.
    """
    if now is None:
        now = state.times[-1] if state.times else 0
    return Query(
        items=state.items,
        types=state.types,
        times=state.times,
        now=now,
        count=count,
        filters=filters,
        purchased=state.purchased,
        explain=explain,
        intent=intent,
    )


def is_scored(user_id: str, share: float) -> bool:
    """Whether a user is among those whose lists are scored: by a hash of the id, the same in every process.

    >>> [is_scored("u17", share) for share in (0.0, 1.0)]
    [False, True]
    """
    return zlib.crc32(user_id.encode()) < share * 2**32
