"""What a bystander with a Kafka client sees of a run: which events had their list, and what is still owed. Pure."""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

import msgspec

from stream.shop.delivery import OutgoingEvent
from stream.wire.decoding import Decoder
from stream.wire.messages import Event, Recommendation

RECENT = 2_000  # latest events over which latency is told
REMEMBERED = 6  # events of a shopper that his story tells


class Latency(NamedTuple):
    """Milliseconds from an event's Kafka timestamp to its list in our hands."""

    p50: float
    p99: float


class Ledger:
    """Keeps accounts of the log and of the lists.

    An event is answered by a list of its user whose provenance names its offset or a later one of its partition: events
    of one user in one micro-batch may share a list.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._list_decoder = msgspec.json.Decoder(Recommendation)
        self._owed: dict[str, deque[tuple[int, int, int]]] = {}  # user: (partition, offset, timestamp), in log order
        self._answered: dict[tuple[str, int], int] = {}  # (user, partition): newest offset a list has seen
        self._waits: deque[int] = deque(maxlen=RECENT)
        self.stories: dict[str, deque[Event]] = {}
        self.newest_lists: dict[str, Recommendation] = {}
        self.explained: dict[str, Recommendation] = {}  # by user, the newest answer to a request
        self.records = 0  # of the events topic
        self.valid = 0
        self.lists = 0
        self.fallbacks: Counter[str] = Counter()
        self.artifacts: dict[str, float] = {}  # artifact: when its first list was seen, epoch seconds
        self.first_personal: float | None = None
        self.dead: Counter[str] = Counter()

    def event(self, value: bytes | None, partition: int, offset: int, timestamp: int) -> None:
        """A record of the events topic."""
        self.records += 1
        event = self._decoder.event(value, timestamp)
        if not isinstance(event, Event):
            return
        self.valid += 1
        self.stories.setdefault(event.user_id, deque(maxlen=REMEMBERED)).append(event)
        if self._answered.get((event.user_id, partition), -1) < offset:
            self._owed.setdefault(event.user_id, deque()).append((partition, offset, timestamp))

    def recommendation(self, value: bytes, now: float) -> Recommendation:
        """A record of the recommendations topic, received at `now` (epoch seconds)."""
        received = self._list_decoder.decode(value)
        if received.request_id is not None:
            self.explained[received.user_id or received.request_id] = received
        elif received.user_id is not None:
            self.lists += 1
            self.fallbacks[received.fallback or "personal"] += 1
            self.newest_lists.pop(received.user_id, None)  # so that the newest list stands last
            self.newest_lists[received.user_id] = received
            artifact, seen = received.provenance.artifact, received.provenance.event
            if artifact is not None:
                self.artifacts.setdefault(artifact, now)
                if received.fallback is None and self.first_personal is None:
                    self.first_personal = now
            if seen is not None:
                self._settle(received.user_id, seen.partition, seen.offset, now)
        return received

    def dead_letter(self, reason: str) -> None:
        """A record of the dead-letters topic."""
        self.dead[reason] += 1

    @property
    def unanswered(self) -> int:
        """Valid events that no list has seen yet."""
        return sum(len(owed) for owed in self._owed.values())

    def latency(self) -> Latency | None:
        """Of the latest answered events; None before there are any."""
        if not self._waits:
            return None
        ordered = sorted(self._waits)
        return Latency(float(ordered[len(ordered) // 2]), float(ordered[int(len(ordered) * 0.99)]))

    def _settle(self, user_id: str, partition: int, offset: int, now: float) -> None:
        self._answered[user_id, partition] = max(offset, self._answered.get((user_id, partition), -1))
        owed = self._owed.get(user_id)
        while owed and owed[0][0] == partition and owed[0][1] <= offset:
            self._waits.append(max(0, int(now * 1000) - owed.popleft()[2]))
        if not owed:
            self._owed.pop(user_id, None)


BAD_MESSAGES: tuple[tuple[str, bytes | None], ...] = (
    ("binary noise", bytes(range(128, 160))),
    ("half a JSON object", b'{"user_id": "u1", "item_id": '),
    ("an event without an item", b'{"user_id": "u1", "event_type": "click"}'),
    ("a user id that is a list", b'{"user_id": [1], "item_id": "i1", "event_type": "click"}'),
    ("an event type nobody knows", b'{"user_id": "u1", "item_id": "i1", "event_type": "teleport"}'),
    (
        "a click of the year 2980",
        b'{"user_id": "u1", "item_id": "i1", "event_type": "click", "timestamp": "2980-01-01"}',
    ),
    ("an item id of 2,000 characters", msgspec.json.encode(OutgoingEvent("u1", "x" * 2000, "click", "bad-1", 0))),
    ("a null value", None),
)
