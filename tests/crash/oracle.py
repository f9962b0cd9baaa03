"""What the topics must hold, worked out from the log by code that shares nothing with the worker's.

It reads every topic once, as it grows, and may be asked at any time. Of each user it keeps what a fold of the log comes
to, of each event a number or two, so that millions of events and every row and list that came of them are checked.
"""

from __future__ import annotations

import json
import time
from array import array
from collections import Counter
from collections.abc import Callable

import msgspec
from confluent_kafka import Message

from tests.crash.notes import ALIASES, BAD, Counts, Expected, List, Row, Where, history_of
from tests.crash.reading import Topic

TOLD = 20  # problems that are told in words; the others are counted


class Oracle:
    """Holds the topics of one group against each other; `topic` gives their full names."""

    def __init__(self, servers: str, topic: Callable[[str], str]) -> None:
        self.counts = Counts()
        self.lost: list[str] = []
        self.doubled: list[str] = []
        self.wrong: list[str] = []
        self.users: dict[Where, Expected] = {}
        self.rows: dict[Where, Row] = {}
        self._topics = {
            name: Topic(servers, topic(name))
            for name in ("events", "requests", "recommendations", "state", "dead-letters")
        }
        partitions = len(self._topics["events"].partitions)
        self._names: list[str] = [""]
        self._numbers: dict[str, int] = {}
        self._owner = [array("I") for _ in range(partitions)]  # by offset: whose event it is, 0 for nobody's
        self._applied = [array("I") for _ in range(partitions)]  # by offset: how many of them counted then; 0: not this
        self._events = Counter[int]()  # records by partition
        self._repeated = Counter[int]()
        self._seen: dict[Where, int] = {}  # the newest event a list has seen
        self._items: dict[int, int] = {}  # what an id names
        self._bad: dict[str, tuple[str, int]] = {}  # source: the code and a digest of the value
        self._letters: Counter[str] = Counter()
        self._requests: set[str] = set()
        self._answered: set[str] = set()
        self._decoder = msgspec.json.Decoder(List)

    @property
    def problems(self) -> list[str]:
        """Everything that is not as it must be."""
        return [
            f"{kind}: {problem}"
            for kind, found in (("lost", self.lost), ("doubled", self.doubled), ("wrong", self.wrong))
            for problem in found[:TOLD]
        ]

    def catch_up(self) -> None:
        """Reads what is new; what can be told at once is."""
        ends = {name: topic.ends() for name, topic in self._topics.items()}
        ends["events"] = self._topics["events"].ends()  # again: all that led to the others stands before these
        ends["requests"] = self._topics["requests"].ends()
        take = {
            "events": self._event,
            "requests": self._request,
            "recommendations": self._list,
            "state": self._row,
            "dead-letters": self._letter,
        }
        for name, one in take.items():
            for message in self._topics[name].read_to(ends[name]):
                one(message)

    def ends(self, name: str) -> dict[int, int]:
        """Where a topic ends now."""
        return self._topics[name].ends()

    def waiting(self) -> int:
        """How many users, bad records and requests are not answered yet, or not as the changelog ends."""
        return (
            sum(self._seen.get(at, -1) < user.newest or self._is_behind(at) for at, user in self.users.items())
            + len(self._bad.keys() - self._letters.keys())
            + len(self._requests - self._answered)
        )

    def settle(self, patience: float = 120.0) -> Oracle:
        """Reads until everything is answered, or nothing has come for so long; then says what is lost."""
        give_up, before = time.monotonic() + patience, -1
        while True:
            self.catch_up()
            waiting = self.waiting()
            if not waiting:
                break
            if waiting != before:
                give_up, before = time.monotonic() + patience, waiting
            if time.monotonic() > give_up:
                break
            time.sleep(0.5)
        self._judge()
        return self

    def close(self) -> None:
        """Reads no more."""
        for topic in self._topics.values():
            topic.close()

    def _event(self, message: Message) -> None:
        partition, offset, value = message.partition(), message.offset(), message.value()
        owner, applied = self._owner[partition], self._applied[partition]
        for column in (owner, applied):
            column.extend([0] * (offset + 1 - len(column)))
        self.counts.events += 1
        self._events[partition] += 1
        if value is None or value in BAD:
            self.counts.bad += 1
            self._bad[f"{message.topic()}-{partition}-{offset}"] = (BAD[value], hash(value))
            return
        event = json.loads(value)
        user_id = event["user_id"]
        owner[offset] = self._number(user_id)
        user = self.users.setdefault((user_id, partition), Expected())
        user.newest = offset
        identity = event.get("event_id")
        if identity is not None and identity in user.ids:
            self.counts.repeated += 1
            self._repeated[partition] += 1
            return
        if identity is not None:
            user.ids.append(identity)
        kind = ALIASES.get(event["event_type"], event["event_type"])
        user.history.append((event["item_id"], kind, event.get("timestamp", message.timestamp()[1])))
        user.applied += 1
        user.offset = offset
        applied[offset] = user.applied
        self.counts.applied += 1

    def _number(self, user_id: str) -> int:
        number = self._numbers.get(user_id)
        if number is None:
            number = self._numbers[user_id] = len(self._names)
            self._names.append(user_id)
        return number

    def _request(self, message: Message) -> None:
        self.counts.requests += 1
        value = message.value()
        if value in BAD:
            self._bad[f"{message.topic()}-{message.partition()}-{message.offset()}"] = (BAD[value], hash(value))
            return
        self._requests.add(json.loads(value)["request_id"])

    def _list(self, message: Message) -> None:
        made = self._decoder.decode(message.value())
        named, items = int(made.recommendation_id[:16], 16), hash(tuple(item.item_id for item in made.items))
        if self._items.setdefault(named, items) != items:
            self.wrong.append(f"{made.recommendation_id} names two lists")
        if made.request_id is not None:
            self.counts.answers += 1
            self._answered.add(made.request_id)
            return
        self.counts.lists += 1
        event, user_id = made.provenance.event, made.user_id or ""
        if event is None or self._name_at(event.partition, event.offset) != user_id:
            self.wrong.append(f"list {made.recommendation_id} of {user_id} names another user's event: {event}")
            return
        at = (user_id, event.partition)
        newest = self._seen.get(at, -1)
        if event.offset <= newest:
            self.counts.resent += 1
        else:
            self._seen[at] = event.offset

    def _name_at(self, partition: int, offset: int) -> str:
        column = self._owner[partition]
        return self._names[column[offset]] if 0 <= offset < len(column) else ""

    def _row(self, message: Message) -> None:
        self.counts.rows += 1
        partition, user_id, value = message.partition(), message.key().decode(), message.value()
        _version, offset, applied = msgspec.msgpack.decode(value)[:3]
        told = f"row of {user_id} at {partition}-{offset} ({message.offset()} of the changelog)"
        if self._name_at(partition, offset) != user_id:
            self.wrong.append(f"{told}: not an event of theirs")
        elif applied != self._applied[partition][offset]:
            counted = self._applied[partition][offset]
            (self.doubled if applied > counted else self.lost).append(f"{told}: {applied} counted, not {counted}")
        before = self.rows.get((user_id, partition))
        if before is not None and offset < before.offset:
            self.counts.stale += 1
        self.rows[user_id, partition] = Row(offset, applied, value)

    def _letter(self, message: Message) -> None:
        headers = dict(message.headers())
        source, code = headers["alluvium-source"].decode(), headers["alluvium-error"].decode()
        self.counts.letters += 1
        self._letters[source] += 1
        if source in self._bad:
            wanted, value = self._bad[source]
            if (wanted and wanted != code) or value != hash(message.value()):
                self.wrong.append(f"the letter of {source} says {code}, or is not what came")
        if self._letters[source] == 2:
            self.doubled.append(f"dead letter of {source}")

    def _judge(self) -> None:
        """What must hold once everything is answered."""
        for at, user in self.users.items():
            if self._seen.get(at, -1) < user.newest:
                self.lost.append(f"list of {at}: {self._seen.get(at)}, not {user.newest}")
            row = self.rows.get(at)
            if row is None or self._is_behind(at):
                self.lost.append(f"state of {at}: {row and row[:2]}, not {(user.offset, user.applied)}")
            elif row.offset > user.offset or history_of(row.value) != [*user.history]:
                self.wrong.append(f"state of {at}: {row[:2]} with another history, or beyond {user.offset}")
        self.lost += [f"dead letter of {source}" for source in self._bad.keys() - self._letters.keys()]
        self.lost += [f"answer to {request}" for request in self._requests - self._answered]
        self.wrong += [f"dead letter of {source}, which is good" for source in self._letters if self._is_good(source)]
        self._balance()

    def _is_behind(self, at: Where) -> bool:
        row = self.rows.get(at)
        return row is None or row.offset < self.users[at].offset

    def _is_good(self, source: str) -> bool:
        topic = source.rsplit("-", 2)[0]
        return topic in (self._topics["events"].name, self._topics["requests"].name) and source not in self._bad

    def _balance(self) -> None:
        """In = applied + duplicate + dead, by partition: applied as the rows say, dead as the letters say."""
        applied, dead = Counter[int](), Counter[int]()
        for (_user, partition), row in self.rows.items():
            applied[partition] += row.applied
        for source in self._letters:
            topic, number, _offset = source.rsplit("-", 2)
            if topic == self._topics["events"].name:
                dead[int(number)] += 1
        for partition, came in self._events.items():
            went = applied[partition] + self._repeated[partition] + dead[partition]
            if came != went:
                parts = f"{applied[partition]} + {self._repeated[partition]} + {dead[partition]}"
                self.wrong.append(f"partition {partition}: {came} came, {parts} went")
