"""Bad records by the million, each bad for a reason planted in it, and good ones that look no better."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

MARK, GOOD, AGAIN, BAD = "mark", b"good", b"again", b"bad"
USERS, ITEMS = 300, 500
Headers = list[tuple[str, bytes | None]]
Spoil = Callable[[Random, dict[str, Any]], bytes | None]


class Vandalised(NamedTuple):
    """A record to send; the header `MARK` says whether it is good, for who checks what became of it.

    `timestamp` None: the time of sending.
    """

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int | None = None

    @property
    def mark(self) -> bytes | None:
        return self.headers[0][1]


def _json(fields: dict[str, Any], **more: str) -> bytes:
    """An object; `more` are JSON texts put behind the fields, names given twice included."""
    inside = [f"{json.dumps(name)}:{json.dumps(value)}" for name, value in fields.items()]
    return ("{" + ",".join(inside + [f'"{name}":{text}' for name, text in more.items()]) + "}").encode(
        "utf-8", "surrogatepass"
    )


def _without(fields: dict[str, Any], name: str) -> dict[str, Any]:
    return {known: value for known, value in fields.items() if known != name}


def _cut(random: Random, fields: dict[str, Any]) -> bytes:
    value = _json(fields)
    return value[: random.randrange(len(value))]


def _flooded(random: Random, fields: dict[str, Any]) -> bytes:
    length = 200_000 if random.random() < 0.01 else 33_000
    return _json(fields, numbers="[" + "0," * length + "0]")


ANYWHERE: tuple[Spoil, ...] = (
    _cut,
    _cut,
    _flooded,
    lambda random, fields: b"\xff" + random.randbytes(random.randrange(200)),
    lambda random, fields: b"\xef\xbb\xbf" + _json(fields),
    lambda random, fields: _json(fields).decode().encode("utf-16"),
    lambda random, fields: _json(fields) + _json(fields),
    lambda random, fields: _json(fields)[:-1] + b',"x":"\xff\xfe"}',
    lambda random, fields: _json(fields, x="[" * 20_000 + "]" * 20_000),
    lambda random, fields: _json(fields, x='"\\ud800"'),
    lambda random, fields: _json(fields, x='"\\udfff\\ud800"'),
    lambda random, fields: _json(fields, x=random.choice(("NaN", "Infinity", "-Infinity", "01", "0x1", "'a'", ""))),
    lambda random, fields: _json(fields, x='"a\x00b"'),
    lambda random, fields: json.dumps([fields]).encode(),
    lambda random, fields: json.dumps(json.dumps(fields)).encode(),
    lambda random, fields: random.choice((b"", b"null", b"0", b"[]", b"{}", b'""', b"{", b"\x00")),
    lambda random, fields: _json(fields) + b" " * 66_000,
)
OTHER = ("null", "true", "17", "[]", "{}", '["a"]', "1e400", "-0.5")  # where a text is needed


def _wrong(name: str, *texts: str) -> Spoil:
    """The name given again, with a value that it cannot have: the last one counts."""
    return lambda random, fields: _json(fields, **{name: random.choice(texts)})


def _identity(name: str) -> tuple[Spoil, ...]:
    return (
        _wrong(name, *OTHER),
        _wrong(name, '""', '"' + "x" * 513 + '"', '"' + "é" * 257 + '"', '"' + "y" * 64_000 + '"'),
        lambda random, fields: _json(_without(fields, name)),
    )


EVENT_SPOILS: tuple[Spoil, ...] = (
    *ANYWHERE,
    *_identity("user_id"),
    *_identity("item_id"),
    lambda random, fields: None,
    _wrong("event_type", *OTHER, '"teleport"', '"CLICK"', '""', '"click "', '"\\u0000"'),
    _wrong(
        "timestamp", "0", "-1", "1" + "0" * 30, "-1" + "0" * 400, "1e300", "1e400", '"0001-01-01T00:00:00+14:00"',
        '"9999-12-31T23:59:59-14:00"', '"noon"', '""', "true", "[1]", '"2026-13-01"', "1795449840",
    ),
    _wrong("quantity", '"6"', "[]", "true", "1e999", "1" + "0" * 400),
    _wrong("price", '"2"', "{}", "-1e999"),
    _wrong("context", "[1]", '{"a":{"b":1}}', '"x"'),
    _wrong("event_id", '""', "4", '"' + "e" * 513 + '"'),
    _wrong("session_id", '""', "[]"),
)  # fmt: skip
ITEM_SPOILS: tuple[Spoil, ...] = (
    lambda random, fields: None,  # under a key that is no id
    *ANYWHERE,
    *_identity("item_id"),
    _wrong("published_at", "1" + "0" * 30, "1e300", "-1" + "0" * 100, "true", "[]"),
    _wrong("price", '"9.5"', "1e999", "[1]"),
    _wrong("embeddings", '{"image":[NaN,1]}', '{"image":[1e999]}', '{"image":["1"]}', "[1,2]", '{"image":{"a":1}}'),
    _wrong("category", "1", "[1]", '{"a":"b"}'),
    _wrong("tags", '"new"', "[null]", "[[]]"),
    _wrong("available", "1", '"yes"', "null"),
    _wrong("title", "1", '"\\ud800"', "[]"),
)
REQUEST_SPOILS: tuple[Spoil, ...] = (
    *ANYWHERE,
    *_identity("request_id"),
    lambda random, fields: None,
    _wrong("kind", '"magic"', "null", "1", '"\\u0000"'),
    _wrong("count", "0", "201", "-1", "1" + "0" * 30, "1.5", '"20"', "1e400"),
    _wrong("filters", '{"colour":"red"}', '{"\\u0000":1}', "[]", '{"price":{"min":"1"}}', '{"price":{"least":1}}',
           '{"tags":[1]}', "null"),
    _wrong("intent", '"marry"', '"dislike"', "1"),
    _wrong("explain", "1", "null"),
    lambda random, fields: _json(_without(_without(fields, "kind"), "user_id"), kind='"user"'),
    lambda random, fields: _json(fields, kind='"item"', item_id='""'),
    lambda random, fields: _json(fields, kind='"session"', history='[{"user_id":1}]'),
)  # fmt: skip

ODD_HEADERS: Headers = [
    ("trace", None), ("", b""), ("alluvium-source", b"alluvium.items-0-999999999"), ("alluvium-error", b"forged"),
    ("alluvium-truncated", b"1"), ("alluvium-replayed", b"x-0-1"), ("alluvium-reply-partition", b"999999"),
    ("alluvium-reply-partition", b"9" * 5_000), ("заголовок", b"\xff\x00"), ("x" * 300, b"y" * 3_000),
]  # fmt: skip
ODD_IDS = ("", "\x00", "\n", "\u202e", "é", "😀", '"', "\\", "<script>", "%s", "{}", " ")


class Vandal:
    """Makes records of one topic from a seed: one in a hundred is good, and every tenth of these is sent again."""

    def __init__(self, topic: str, seed: int, good: float = 0.01) -> None:
        self._random = Random(f"{topic}-{seed}")
        self._make, self._spoils = {
            "events": (self._event, EVENT_SPOILS), "items": (self._item, ITEM_SPOILS),
            "requests": (self._request, REQUEST_SPOILS),
        }[topic]  # fmt: skip
        self._topic, self._good, self._made = topic, good, 0

    def records(self) -> list[Vandalised]:
        """The next record, or the next two if it is sent again; they belong on one partition."""
        random = self._random
        self._made += 1
        fields = self._make(self._made)
        good = random.random() < self._good
        value = _json(fields) if good else random.choice(self._spoils)(random, fields)
        timestamp = 1 if self._topic == "events" and not good and random.random() < 0.01 else None
        record = Vandalised(self._key(value), value, [(MARK, GOOD if good else BAD), *self._headers()], timestamp)
        if good and self._topic == "events" and random.random() < 0.1:
            return [record, record._replace(headers=[(MARK, AGAIN)])]
        return [record]

    def _headers(self) -> Headers:
        random = self._random
        return random.choices(ODD_HEADERS, k=random.randrange(4)) if random.random() < 0.3 else []

    def _key(self, value: bytes | None) -> bytes | None:
        random = self._random
        keys = [b"k", b"\xff\xfe", random.randbytes(8), b"", b"user", b"x" * random.randrange(1, 600)]
        if self._topic == "items":  # a compacted topic takes no record without a key
            return random.choice(keys) if value is not None else b"\xff"
        return random.choice([None, *keys])

    def _odd(self, name: str) -> str:
        return f"{name}{self._random.choice(ODD_IDS)}"

    def _event(self, number: int) -> dict[str, Any]:
        random = self._random
        return {
            "user_id": self._odd(f"u{random.randrange(USERS)}"),
            "item_id": self._odd(f"i{random.randrange(ITEMS)}"),
            "event_type": random.choice(("click", "view", "buy", "cart", "dislike", "remove")),
            "event_id": f"e{number}",
            "price": random.choice((None, -1.0, 1e308, 0.0)),
            "context": random.choice((None, {"a": None, "ключ": "\x00"})),
            "unheard_of": random.choice((None, [[[[1]]]], {"user_id": 1}, 2**70)),
        }

    def _item(self, number: int) -> dict[str, Any]:
        random = self._random
        return {
            "item_id": self._odd(f"good-{number}-"),
            "title": random.choice((None, "Lamp \x00 \u202e", "x" * 5_000)),
            "category": random.choice((None, "home", ["a", "", "b"] * 20)),
            "price": random.choice((None, -1.0, 1e308, 5e-324)),
            "tags": random.choice((None, [], ["new"] * 50)),
            "embeddings": random.choice((None, {}, {"image": [1e300, -0.0]})),
            "published_at": random.choice((None, 0, "soon", 2**62)),
        }

    def _request(self, number: int) -> dict[str, Any]:
        random = self._random
        asks: dict[str, Any] = random.choice(
            (
                {"kind": "user", "user_id": self._odd(f"u{random.randrange(USERS)}")},
                {"kind": "item", "item_id": self._odd(f"i{random.randrange(ITEMS)}")},
                {"kind": "search", "query": "\x00\u202e"},
                {"kind": "session", "history": []},
            )
        )
        filters = random.choice(({}, {"price": {"min": -1e308, "max": 1e308}}, {"exclude_items": ["x"] * 1_000}))
        return {"request_id": f"r{number}", **asks, "count": random.choice((1, 200)), "filters": filters,
                "explain": True}  # fmt: skip
