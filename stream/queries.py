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


@dataclass(frozen=True)
class ScoredEvents:
    """Which events are held against the list before them: a matter of the event alone, the same in every process.

    Those of `kinds`, which say that their user wanted the item, of a share of the `users`. The list between two events
    of one user in one micro-batch is sent to nobody and costs what a list costs: of such events a share is scored.
    """

    kinds: frozenset[str]
    users: float = 1.0
    bursts: float = 1.0

    @classmethod
    def of(cls, settings: Settings) -> ScoredEvents:
        """What the settings say."""
        types, worker = settings.event_types(), settings.worker
        return cls(frozenset(filter(types.is_positive, types.names)), worker.scored_users, worker.scored_bursts)

    def of_user(self, key: bytes) -> frozenset[str]:
        """The types of a user's events that are scored: none for a user who is not looked at. `key` is the id in UTF-8.

        >>> [len(ScoredEvents(frozenset({"click"}), users).of_user(b"u17")) for users in (0.0, 1.0)]
        [0, 1]
        """
        return self.kinds if zlib.crc32(key) < self.users * 2**32 else frozenset()

    def in_burst(self, key: bytes, offset: int) -> bool:
        """Whether an event is scored that follows another one of its user in its micro-batch."""
        return zlib.crc32(key, offset & 0xFFFFFFFF) < self.bursts * 2**32
