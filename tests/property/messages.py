"""Messages of every topic as Hypothesis strategies: good ones, nearly good ones and hostile ones.

A message is written from pairs of a name and a JSON text, so that it can hold what no Python value is: names given
twice, numbers beyond every type, halves of surrogate pairs, NaN.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

RECORDED = 1_795_449_840_000  # 2026-11-23T16:04:00Z, the record's own time
Pairs = list[tuple[str, str]]

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
ids = st.sampled_from(["u1", "85123A", "\x00", "\x1b[2J", "ключ", "a" * 512, "é" * 256, "'; --", "../../etc"]) | text
finite = st.floats(allow_nan=False, allow_infinity=False)
moments = st.integers(631_152_000_000, RECORDED) | st.sampled_from(["2026-11-23T16:04:00Z", "2026-11-23", 1e12])
event_types = st.sampled_from(["click", "view", "cart", "buy", "remove", "dislike"])
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | text


def _some(**fields: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    return {name: values | st.none() for name, values in fields.items()}


good_events = st.fixed_dictionaries(
    {"user_id": ids, "item_id": ids, "event_type": event_types},
    optional=_some(
        event_id=ids, timestamp=moments, session_id=ids, quantity=finite, price=finite, currency=text, query=text,
        recommendation_id=text, context=st.dictionaries(text, scalars, max_size=3), unheard_of=scalars,
    ),
)  # fmt: skip
good_items = st.fixed_dictionaries(
    {"item_id": ids},
    optional=_some(
        title=text, description=text, category=text | st.lists(text, max_size=4), brand=text, price=finite,
        currency=text, tags=st.lists(text, max_size=4), published_at=moments, url=text, image_url=text,
        embeddings=st.dictionaries(text, st.lists(finite, max_size=8), max_size=2), unheard_of=scalars,
    )
    | {"available": st.booleans()},
)  # fmt: skip
names = text | st.lists(text, max_size=3)
filters = st.fixed_dictionaries(
    {},
    optional=_some(
        category=names, brand=names, tags=st.lists(text, max_size=3),
        price=st.fixed_dictionaries({}, optional=_some(min=finite, max=finite)),
        exclude_purchased=st.booleans() | st.just("auto"),
    )
    | {"exclude_items": st.lists(ids, max_size=3), "exclude_seen": st.booleans()},
)  # fmt: skip
_asked: dict[str, st.SearchStrategy[Any]] = {
    "count": st.integers(1, 200), "filters": filters, "explain": st.booleans(),
    "intent": st.sampled_from(["click", "buy"]) | st.none(),
}  # fmt: skip
good_requests = st.one_of(
    *(
        st.fixed_dictionaries({"request_id": ids, "kind": st.just(kind), needed: values}, optional=_asked)
        for kind, needed, values in (
            ("user", "user_id", ids),
            ("item", "item_id", ids),
            ("search", "query", text),
            ("session", "history", st.lists(good_events, max_size=3)),
        )
    )
)
GOOD: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "event": good_events,
    "item": good_items,
    "request": good_requests,
}

# JSON, or nearly, in the place of a value.
HOSTILE_VALUES = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e308", "5e-324", "-0", "1" + "0" * 30, "-1" + "0" * 400,
    "9" * 5_000, str(2**63), str(-(2**63)), str(2**64), "0.1e-400", "01", "+1", ".5", "0x10",
    '"\\ud800"', '"\\udfff\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\x41"', '"\x00"', '"\n"', '"\ud800"', '""',
    '"' + "x" * 70_000 + '"', '"' + "\\u0001" * 513 + '"', "null", "true", "[]", "{}", "[[[[1]]]]", '{"a":{"b":{}}}',
    "[" * 2_000 + "]" * 2_000, '{"a":' * 500 + "1" + "}" * 500, "[" * 50, "[" + "0," * 20_000 + "0]",
    '{"image":[NaN,1]}', '{"image":[1e999]}', '{"image":["1"]}', '{"\\udc00":[1]}', '[{"user_id":1}]', "[null]",
    '{"min":1e999}', '{"price":{"min":"1"}}', '{"colour":"red"}', '{"exclude_items":[1]}',
    '"9999-12-31T23:59:59.999-23:59"',
    '"0001-01-01T00:00:00+23:59"', '"20261123"', '"\u0661\u0662\u0663"', "'single'", "undefined", "/* c */1", "",
)  # fmt: skip
ODD_NAMES = ("\\ud800", "\\u0000", "user_id\\u0000", "ITEM_ID", "", "__proto__", "item\\u005fid", "x" * 1_000)
odd_names = st.sampled_from(ODD_NAMES) | text.map(lambda name: json.dumps(name)[1:-1])


def written(pairs: Pairs) -> bytes:
    """The object's JSON; what is no text is written as the bytes that say it all the same."""
    inside = ",".join(f'"{name}":{value}' for name, value in pairs)
    return f"{{{inside}}}".encode("utf-8", "surrogatepass")


@st.composite
def nearly_good(draw: st.DrawFn, kind: str) -> bytes:
    """A good message with one to three places spoilt."""
    fields = draw(GOOD[kind])
    pairs = [(name, json.dumps(value, ensure_ascii=draw(st.booleans()))) for name, value in fields.items()]
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(pairs)))
        hostile = draw(st.sampled_from(HOSTILE_VALUES) | scalars.map(json.dumps))
        how = draw(st.sampled_from(("value", "name", "again", "gone", "more")))
        if how == "more" or at == len(pairs):
            pairs.insert(
                at, (draw(st.sampled_from(ODD_NAMES) | text.map(lambda name: json.dumps(name)[1:-1])), hostile)
            )
        elif how == "value":
            pairs[at] = (pairs[at][0], hostile)
        elif how == "name":
            pairs[at] = (draw(odd_names), pairs[at][1])
        elif how == "again":
            pairs.append((pairs[at][0], hostile))
        else:
            del pairs[at]
    return written(pairs)


@st.composite
def damaged(draw: st.DrawFn, kind: str) -> bytes:
    """A message's bytes: cut, with others put in, in another encoding, behind a byte order mark."""
    fields = draw(GOOD[kind])
    value = json.dumps(fields, ensure_ascii=False).encode()
    how = draw(st.sampled_from(("cut", "put", "utf-16", "bom", "twice", "latin-1", "flip")))
    at = draw(st.integers(0, len(value) - 1))
    if how == "cut":
        return value[:at]
    if how == "put":
        return value[:at] + draw(st.binary(min_size=1, max_size=4)) + value[at:]
    if how == "flip":
        return value[:at] + bytes([value[at] ^ (1 << draw(st.integers(0, 7)))]) + value[at + 1 :]
    other = {"utf-16": value.decode().encode("utf-16"), "bom": b"\xef\xbb\xbf" + value, "twice": value + value}
    return other.get(how, value.decode().encode("latin-1", "replace") + b"\xe9")


noise = st.binary(max_size=100) | st.sampled_from(
    [
        b"", b"null", b"[]", b"0", b'""', b"{", b"[" * 60_000, b'{"a":' * 15_000, b"[" + b"0," * 10**6 + b"0]",
        b" " * 70_000,
    ]
)  # fmt: skip


def good(kind: str) -> st.SearchStrategy[bytes]:
    """Messages that must be taken."""
    return GOOD[kind].map(lambda fields: json.dumps(fields).encode())


def anything(kind: str) -> st.SearchStrategy[bytes]:
    """Messages of all sorts."""
    return good(kind) | nearly_good(kind) | damaged(kind) | noise
