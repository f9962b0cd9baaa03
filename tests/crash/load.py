"""A shop's traffic for crash stories: seeded, at a rate, with bad records, retries, requests and new items among it."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import deque
from collections.abc import Callable

from confluent_kafka import KafkaError, Message, Producer

from tests.crash.notes import BAD

KINDS = ("click", "click", "click", "view", "addtocart", "transaction", "remove", "dislike")
TOPICS = 6  # users of a topic click its items, so that there is something to learn
TICK = 0.02
BEHIND = 1.0  # seconds of the rate that are sent at most after a stall
RETRIES = 32  # events that a producer may still send again


class Load(threading.Thread):
    """Produces until `finish`; `rate` and `paused` may be changed meanwhile. Counts what Kafka has acknowledged.

    Events are of one of so many `users`, or, the share `newcomers` of them, of somebody who is there for once.
    Of all records the share `new_items` is an item not seen before.
    """

    def __init__(self, servers: str, topic: Callable[[str], str], *, seed: int, rate: float) -> None:
        super().__init__(daemon=True)
        self.rate, self.paused = rate, False
        self.users, self.newcomers, self.new_items = 60, 0.3, 0.01
        self.acknowledged, self.refused = 0, 0
        self.items = 30
        self._topic, self._dice = topic, random.Random(seed)
        self._prefix = f"{seed}-"
        self._made = 0
        self._latest: deque[tuple[str, str]] = deque(maxlen=RETRIES)
        self._finished = threading.Event()
        self._producer = Producer(
            {"bootstrap.servers": servers, "partitioner": "murmur2_random", "enable.idempotence": True,
             "log_level": 2, "message.timeout.ms": 0, "linger.ms": 5, "queue.buffering.max.messages": 500_000,
             "on_delivery": self._delivered}
        )  # fmt: skip

    def run(self) -> None:
        """The thread's work."""
        due, before = 0.0, time.monotonic()
        while not self._finished.is_set():
            time.sleep(TICK)
            now = time.monotonic()
            due = 0.0 if self.paused else min(due + (now - before) * self.rate, self.rate * BEHIND)
            before = now
            while due >= 1:
                self.one()
                due -= 1
            self._producer.poll(0)

    def one(self) -> None:
        """The next record."""
        dice, self._made = self._dice.random(), self._made + 1
        if dice < 0.03:
            self._bad()
        elif dice < 0.07:
            self._request()
        elif dice < 0.07 + self.new_items:
            self._item()
        elif dice < 0.11 + self.new_items and self._latest:
            self._send("events", *self._dice.choice(self._latest))  # a producer's retry
        else:
            self._event()

    def stock(self, items: int) -> None:
        """Sends as many items as are missing to so many, at once."""
        while self.items < items:
            self._item()
            self._producer.poll(0)

    def flush(self, patience: float = 120.0) -> None:
        """Returns when Kafka has everything."""
        left = self._producer.flush(patience)
        assert left == 0, f"Kafka has not taken {left} records"

    def finish(self) -> None:
        """Sends no more; returns when Kafka has everything."""
        self._finished.set()
        if self.is_alive():
            self.join()
        self.flush()

    def _event(self) -> None:
        user = self._user()
        topic = hash_of(user) % TOPICS
        item = topic + TOPICS * self._dice.randrange(max(1, self.items // TOPICS))
        event: dict[str, str | int] = {
            "user_id": user, "item_id": f"i{item}", "event_type": self._dice.choice(KINDS),
            "event_id": f"e{self._prefix}{self._made}",
        }  # fmt: skip
        if self._dice.random() < 0.5:
            event |= {"timestamp": int(time.time() * 1000) - self._dice.randrange(10_000)}
        encoded = json.dumps(event)
        self._latest.append((user, encoded))
        self._send("events", user, encoded)

    def _user(self) -> str:
        """Nobody's later list stands for that of a newcomer."""
        if self._dice.random() < self.newcomers:
            return f"n{self._prefix}{self._made}"
        return f"u{self._dice.randrange(self.users)}"

    def _bad(self) -> None:
        values = [*BAD]
        weights = [0.1 if value is not None and len(value) > 1_000 else 1.0 for value in values]
        name = "events" if self._dice.random() < 0.9 else "requests"
        (value,) = self._dice.choices(values, weights)
        if name == "requests":
            value = b"{not json"
        self._send(name, self._dice.choice(["u1", "u2", "nobody"]), value)

    def _request(self) -> None:
        user, item = f"u{self._dice.randrange(self.users)}", f"i{self._dice.randrange(self.items)}"
        kind = self._dice.choice(["user", "item", "session"])
        name = f"r{self._prefix}{self._made}"
        request: dict[str, object] = {"request_id": name, "kind": kind, "user_id": user, "count": 5}
        if kind == "item":
            request |= {"item_id": item}
        if kind == "session":
            request |= {"history": [{"user_id": "x", "item_id": item, "event_type": "click"}]}
        key = user if self._dice.random() < 0.7 else name  # the latter may have to be forwarded
        self._send("requests", key, json.dumps(request))

    def _item(self) -> None:
        number = self.items
        self.items += 1
        item = {"item_id": f"i{number}", "title": f"thing {number}", "category": f"c{number % TOPICS}", "price": 1.5}
        self._send("items", f"i{number}", json.dumps(item))

    def _send(self, name: str, key: str, value: str | bytes | None) -> None:
        while True:
            try:
                self._producer.produce(self._topic(name), key=key, value=value)
            except BufferError:  # Kafka has been away for long
                self._producer.poll(0.2)
            else:
                return

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.acknowledged += 1
        else:
            self.refused += 1


def hash_of(text: str) -> int:
    """A number for a text, the same in every process."""
    return sum(ord(letter) * (place + 1) for place, letter in enumerate(text))
