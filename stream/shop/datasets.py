"""The public data sets that `alluvium replay` knows by name, each in the layouts in which it is handed around.

Sources: UCI Online Retail (Chen, Sain, Guo 2012); Retailrocket (Kaggle 2016); YOOCHOOSE (RecSys Challenge 2015), also
as cut by ADER (RecSys 2020) and session-rec; DIGINETICA (CIKM Cup 2016); MovieLens (GroupLens); OTTO (Kaggle 2022).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stream.shop.columns import Ints, column, constant
from stream.shop.interactions import (
    BAD_NUMBER,
    BAD_TIME,
    NO_ITEM,
    NO_TYPE,
    NO_USER,
    Events,
    FieldError,
    Interaction,
    Parse,
    Texts,
    identities,
    identity,
    moment,
    moments,
    number,
    words,
)
from stream.shop.rows import Fields, RowFile, looks_like_names
from stream.wire.messages import Item

DAY = 86_400_000
YOOCHOOSE_START = 1_396_310_400_000  # 2014-04-01T00:00:00Z, the first day of the log
LOWEST_LIKING = 2.5  # stars; below it a film was not liked


@dataclass(frozen=True)
class Layout:
    """One way a data set is written. `columns` are needed by name; without `header` they are the file's, in order."""

    columns: tuple[str, ...]
    parse: Callable[[RowFile], Parse]
    header: bool = True
    in_time_order: bool = True  # otherwise replay sorts by time

    def fits(self, file: RowFile) -> bool:
        """Whether a file is written so, judged by its first row."""
        named = looks_like_names(file.first)
        if self.header:
            return named and set(self.columns) <= {name.strip() for name in file.first}
        return not named and len(file.first) == len(self.columns)


def layout_of(dataset: str, file: RowFile) -> Layout:
    """The layout of a named data set that a file is written in. Raises ValueError when it is none of them."""
    for layout in DATASETS[dataset]:
        if layout.fits(file):
            return layout
    known = "; ".join(",".join(layout.columns) for layout in DATASETS[dataset])
    raise ValueError(f"{file.path.name} is no {dataset} file: its first row is {file.first[:10]}, known are {known}")


def _same(read: Callable[[Fields], list[Interaction]]) -> Callable[[RowFile], Parse]:
    parse = Parse(read)
    return lambda _file: parse


# Online Retail: one line of an invoice is one purchase; invoices C… are cancellations.

UNSOLD = re.compile(
    r"^(POST|DOT|M|D|C2|S|B|PADS|CRUK|BANK CHARGES|AMAZONFEE|ADJUST\d*|TEST\d*|gift_.*)$", re.IGNORECASE
)


def _online_retail(invoice: str, price: str, customer: str) -> Callable[[Fields], list[Interaction]]:
    def read(row: Fields) -> list[Interaction]:
        user_id, item_id = identity(row[customer], NO_USER), str(row["StockCode"]).strip()
        if not item_id:
            raise FieldError(NO_ITEM, "the field is empty")
        quantity, paid = number(row["Quantity"], "Quantity"), number(row[price], price)
        cancelled = str(row[invoice]).strip().upper().startswith("C")
        if quantity is None or quantity == 0 or (quantity < 0) != cancelled:
            raise FieldError(BAD_NUMBER, f"Quantity {quantity} does not fit invoice {row[invoice]}")
        content = Item(
            item_id, title=words(row["Description"]), price=paid, currency="GBP", available=not UNSOLD.match(item_id)
        )
        return [
            Interaction(
                user_id=user_id,
                item_id=item_id,
                event_type="remove" if cancelled else "purchase",
                timestamp=moment(row["InvoiceDate"]),
                session_id=words(row[invoice]),
                quantity=abs(quantity),
                price=paid,
                currency="GBP",
                item=None if cancelled else content,
            )
        ]

    return read


# Retailrocket: views, add-to-carts and transactions of visitors.

RETAILROCKET_TYPES = {"view": "click", "addtocart": "cart", "transaction": "purchase"}


def _retailrocket(row: Fields) -> list[Interaction]:
    return [
        Interaction(
            user_id=identity(row["visitorid"], NO_USER),
            item_id=identity(row["itemid"], NO_ITEM),
            event_type=_known_type(row["event"], RETAILROCKET_TYPES),
            timestamp=moment(row["timestamp"]),
        )
    ]


def _retailrocket_views(row: Fields) -> list[Interaction]:
    return [
        Interaction(
            user_id=identity(row["user_id"], NO_USER),
            item_id=identity(row["item_id"], NO_ITEM),
            event_type="click",
            timestamp=moment(row["timestamp"]),
            session_id=words(row["session_id"]),
        )
    ]


def _known_type(value: object, names: dict[str, str]) -> str:
    name = str(value).strip().lower()
    if name not in names:
        raise FieldError(NO_TYPE, f"event {name[:40]!r} is none of {', '.join(names)}")
    return names[name]


# YOOCHOOSE: visitors are anonymous, so a session is its own user.


def _clicks(session: str, time: str, item: str) -> Callable[[RowFile], Parse]:
    def read(row: Fields) -> list[Interaction]:
        user_id = identity(row[session], NO_USER)
        item_id = identity(row[item], NO_ITEM)
        return [Interaction(user_id, item_id, "click", moment(row[time]), session_id=user_id)]

    def read_columns(named: Texts) -> Events:
        users, items = identities(named[session], NO_USER), identities(named[item], NO_ITEM)
        return Events(users, items, constant("click", len(users.codes)), moments(named[time]), users)

    return lambda _file: Parse(read, read_columns)


def _yoochoose_buy(row: Fields) -> list[Interaction]:
    user_id, item_id = identity(row["session"], NO_USER), identity(row["item"], NO_ITEM)
    price = number(row["price"], "price") or None  # 0 stands for unknown
    return [
        Interaction(
            user_id=user_id,
            item_id=item_id,
            event_type="purchase",
            timestamp=moment(row["timestamp"]),
            session_id=user_id,
            quantity=number(row["quantity"], "quantity") or None,
            price=price,
            item=None if price is None else Item(item_id, price=price),
        )
    ]


def ader_clicks(counts: dict[str, int]) -> Parse:
    """Clicks in arrival order with a day and no clock: a day's `counts` rows are spread evenly over its 24 hours."""
    starts = {day: YOOCHOOSE_START + int(day) * DAY for day in counts if day.isdigit()}
    seen = dict.fromkeys(counts, 0)

    def spread(period: str, rows: int) -> Ints:
        start = starts.get(period)
        if start is None:
            raise FieldError(BAD_TIME, f"period {period[:40]!r} is no day number")
        before, count = seen[period], counts[period]
        seen[period] += rows
        return start + np.arange(before, before + rows) * DAY // count

    def read(row: Fields) -> list[Interaction]:
        timestamp = int(spread(str(row["period"]).strip(), 1)[0])
        user_id = identity(row["session_id"], NO_USER)
        return [Interaction(user_id, identity(row["item_id"], NO_ITEM), "click", timestamp, session_id=user_id)]

    def read_columns(named: Texts) -> Events:
        users, items = identities(named["session_id"], NO_USER), identities(named["item_id"], NO_ITEM)
        periods = column(named["period"]).mapped(str.strip)
        if not starts.keys() >= {*periods.texts.to_pylist()}:
            raise FieldError(BAD_TIME, "a period is no day number")
        changes = [0, *(np.flatnonzero(np.diff(periods.codes)) + 1).tolist(), len(periods.codes)]
        days = [(str(periods.texts[int(periods.codes[begin])]), end - begin) for begin, end in pairwise(changes)]
        times = np.concatenate([spread(period, rows) for period, rows in days])
        return Events(users, items, constant("click", len(times)), times, users)

    return Parse(read, read_columns)


def _ader(file: RowFile) -> Parse:
    return ader_clicks(file.counts("period"))


# DIGINETICA: most sessions have no user; the time of day is milliseconds since the session's first action.


def _diginetica(row: Fields) -> list[Interaction]:
    session = identity(row["sessionId"], NO_USER)
    user = words(row.get("userId"))
    elapsed = number(row["timeframe"], "timeframe") or 0.0
    return [
        Interaction(
            user_id=f"session-{session}" if user is None else user,
            item_id=identity(row["itemId"], NO_ITEM),
            event_type="click",
            timestamp=moment(row["eventdate"]) + int(elapsed),
            session_id=session,
        )
    ]


# MovieLens: a rating is a click that carries its stars; few stars are a dislike.


def _movielens(user: str, film: str) -> Callable[[Fields], list[Interaction]]:
    def read(row: Fields) -> list[Interaction]:
        stars = number(row["rating"], "rating")
        if stars is None:
            raise FieldError(BAD_NUMBER, "rating is empty")
        return [
            Interaction(
                user_id=identity(row[user], NO_USER),
                item_id=identity(row[film], NO_ITEM),
                event_type="click" if stars >= LOWEST_LIKING else "dislike",
                timestamp=moment(row["timestamp"]),
                context={"rating": stars},
            )
        ]

    return read


# OTTO: a line is a session with all its events.

OTTO_TYPES = {
    **{"clicks": "click", "carts": "cart", "orders": "purchase"},
    **{"0": "click", "1": "cart", "2": "purchase"},  # the common Parquet copies number them
}


def _otto_event(session: str, row: Fields) -> Interaction:
    item_id = identity(row["aid"], NO_ITEM)
    event_type = _known_type(row["type"], OTTO_TYPES)
    return Interaction(session, item_id, event_type, moment(row["ts"]), session_id=session)


def _otto_session(row: Fields) -> list[Interaction]:
    session = identity(row["session"], NO_USER)
    events = row["events"]
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise FieldError(NO_ITEM, "events is no list of objects")
    return [_otto_event(session, event) for event in events]


def _otto_row(row: Fields) -> list[Interaction]:
    return [_otto_event(identity(row["session"], NO_USER), row)]


_CLICKS = ("session", "timestamp", "item", "category")
_RATINGS = ("userId", "movieId", "rating", "timestamp")
_RATING = ("user", "film", "rating", "timestamp")

DATASETS: dict[str, tuple[Layout, ...]] = {
    "online-retail": (
        Layout(
            ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"),
            _same(_online_retail("InvoiceNo", "UnitPrice", "CustomerID")),
        ),
        Layout(
            ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID"),
            _same(_online_retail("Invoice", "Price", "Customer ID")),
        ),
    ),
    "retailrocket": (
        Layout(("timestamp", "visitorid", "event", "itemid"), _same(_retailrocket), in_time_order=False),
        Layout(("timestamp", "user_id", "item_id", "session_id"), _same(_retailrocket_views), in_time_order=False),
    ),
    "yoochoose": (
        Layout(_CLICKS, _clicks("session", "timestamp", "item"), header=False, in_time_order=False),
        Layout(
            ("session", "timestamp", "item", "price", "quantity"),
            _same(_yoochoose_buy),
            header=False,
            in_time_order=False,
        ),
        Layout(("period", "session_id", "item_id"), _ader),
        Layout(("SessionId", "ItemId", "Time"), _clicks("SessionId", "Time", "ItemId"), in_time_order=False),
    ),
    "diginetica": (Layout(("sessionId", "itemId", "timeframe", "eventdate"), _same(_diginetica), in_time_order=False),),
    "movielens": (
        Layout(_RATINGS, _same(_movielens("userId", "movieId")), in_time_order=False),
        Layout(_RATING, _same(_movielens("user", "film")), header=False, in_time_order=False),
    ),
    "otto": (
        Layout(("session", "events"), _same(_otto_session), in_time_order=False),
        Layout(("session", "aid", "ts", "type"), _same(_otto_row), in_time_order=False),
    ),
}
