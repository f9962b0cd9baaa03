"""From a row to interactions or a problem: pure functions, and the small readers of single fields they share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream.shop.columns import Column, Ints, column, constant, plain_moments
from stream.shop.rows import Fields, RowProblem
from stream.wire.messages import Item, Scalar
from stream.wire.times import read_time

NO_USER, NO_ITEM, BAD_TIME, BAD_NUMBER, NO_TYPE = "no_user", "no_item", "bad_time", "bad_number", "no_type"
NOTHING = frozenset({"", "NA", "NaN", "nan", "None", "null", "NULL"})


class Interaction(msgspec.Struct, omit_defaults=True, gc=False):
    """What a row says: an event of the contract with its time in epoch milliseconds, and what it tells of the item.

    As JSON it is the message, once `event_id` is given to it and `item` is taken from it.
    """

    user_id: str
    item_id: str
    event_type: str
    timestamp: int
    session_id: str | None = None
    quantity: float | None = None
    price: float | None = None
    currency: str | None = None
    context: dict[str, Scalar] | None = None
    item: Item | None = None
    event_id: str = ""


class Events(NamedTuple):
    """Events as columns, one of each row of a block."""

    users: Column
    items: Column
    types: Column
    times: Ints
    sessions: Column | None


Parsed = list[Interaction] | RowProblem
Texts = Mapping[str, pa.StringArray]  # columns by name


class FieldError(ValueError):
    """A field is missing or of the wrong kind; carries the reason the row is counted under."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Parse:
    """How rows are read: by functions that raise FieldError for a row that is no event.

    `read_columns` says for a whole block what `read` says row by row; a block that it raises for is read by rows.
    """

    def __init__(
        self,
        read: Callable[[Fields], list[Interaction]],
        read_columns: Callable[[Texts], Events] | None = None,
    ) -> None:
        self._read, self._read_columns = read, read_columns

    def __call__(self, fields: Fields) -> Parsed:
        """What a row says, or its problem."""
        try:
            return self._read(fields)
        except FieldError as error:
            return RowProblem(error.reason, str(error))
        except KeyError as error:
            return RowProblem("missing_column", f"no column {error}")

    def block(self, columns: Texts) -> Events | None:
        """What the rows of a block say; None when they must be read one by one."""
        if self._read_columns is None:
            return None
        try:
            return self._read_columns(columns)
        except (FieldError, KeyError):
            return None


def identity(value: Any, reason: str) -> str:  # noqa: ANN401  (a field of any file)
    """An id as text: `17850.0`, as spreadsheets write it, is `17850`. Raises FieldError when there is none."""
    found = _identity(value if isinstance(value, str) else "" if value is None else str(value))
    if found is None:
        raise FieldError(reason, "the field is empty")
    return found


def identities(texts: pa.StringArray, reason: str) -> Column:
    """`identity` of each. Raises FieldError when there is none for one of them."""
    return _of_each(texts, lambda text: identity(text, reason), reason)


def sessions(texts: pa.StringArray) -> Column:
    """Session ids. Raises FieldError when there is none for one of them."""
    return _of_each(texts, lambda text: identity(_words(text), NO_USER), NO_USER)


def _of_each(texts: pa.StringArray, read: Callable[[str], str], reason: str) -> Column:
    """What `read` says of each; a plain text says itself."""
    found = column(texts)
    if not found.plain:
        return found.mapped(read)
    if pc.any(pc.is_in(found.texts, pa.array(NOTHING))).as_py():
        raise FieldError(reason, "a field is empty")
    return found


def moments(texts: pa.StringArray) -> Ints:
    """`moment` of each. Raises FieldError for anything else."""
    found = plain_moments(texts)
    if found is not None:
        return found
    distinct = column(texts)
    try:
        return np.array([_moment(text.strip()) for text in distinct.texts.to_pylist()], np.int64)[distinct.codes]
    except OverflowError:
        raise FieldError(BAD_TIME, "a time is beyond 64 bits") from None


@lru_cache(1 << 17)  # users, items and sessions come again and again
def _identity(field: str) -> str | None:
    text = field.strip()
    if text in NOTHING:
        return None
    whole, point, zeros = text.rpartition(".")
    return whole if point and zeros.strip("0") == "" and whole.isdigit() else text


def words(value: Any) -> str | None:  # noqa: ANN401  (a field of any file)
    """A text field without needless spaces, None when empty."""
    return None if value is None else _words(str(value))


@lru_cache(1 << 16)
def _words(field: str) -> str | None:
    text = " ".join(field.split())
    return None if text in NOTHING else text


def number(value: Any, name: str) -> float | None:  # noqa: ANN401  (a field of any file)
    """A finite number, None when the field is empty. Raises FieldError for anything else."""
    text = "" if value is None else str(value).strip()
    if text in NOTHING:
        return None
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise FieldError(BAD_NUMBER, f"{name} {text[:40]!r} is not a number")
    return found


def moment(value: Any) -> int:  # noqa: ANN401  (a field of any file)
    """Epoch milliseconds of an epoch (s, ms, us or ns, told apart by size), ISO 8601, or `12/31/2010 8:26` (US order).

    Raises FieldError for anything else.

    >>> moment("1396437466.94"), moment("2014-04-02T11:17:46.940Z"), moment("4/2/2014 11:17")
    (1396437466940, 1396437466940, 1396437420000)
    """
    if isinstance(value, datetime | date):
        value = value.isoformat()
    return _moment("" if value is None else str(value).strip())


@lru_cache(1 << 14)  # lines of one invoice, clicks of one second
def _moment(text: str) -> int:
    found = read_time(text)
    if found is None:
        raise FieldError(BAD_TIME, f"time {text[:40]!r} is no time")
    return found


def map_columns(columns: Mapping[str, str], event_type: str) -> Parse:
    """A reader for `--columns user=…,item=…,time=…`; `event_type` is for files without a type column."""

    def read(fields: Fields) -> list[Interaction]:
        def of(name: str) -> Any:  # noqa: ANN401  (a field of any file)
            return fields[columns[name]] if name in columns else None

        price, item_id = number(of("price"), "price"), identity(of("item"), NO_ITEM)
        title, category, brand = words(of("title")), words(of("category")), words(of("brand"))
        content = Item(
            item_id, title=title, category=category, brand=brand, price=price, currency=words(of("currency"))
        )
        session = words(of("session"))
        return [
            Interaction(
                user_id=identity(of("user"), NO_USER),
                item_id=item_id,
                event_type=identity(of("type"), NO_TYPE).lower() if "type" in columns else event_type,
                timestamp=moment(of("time")),
                session_id=None if session is None else identity(session, NO_USER),
                quantity=number(of("quantity"), "quantity"),
                price=price,
                currency=words(of("currency")),
                item=content if title or category or brand else None,
            )
        ]

    regular = columns.keys() <= {"user", "item", "time", "type", "session"}

    def read_columns(named: Texts) -> Events:
        users, items = identities(named[columns["user"]], NO_USER), identities(named[columns["item"]], NO_ITEM)
        types = constant(event_type, len(users.codes))
        if "type" in columns:
            types = identities(named[columns["type"]], NO_TYPE).mapped(str.lower)
        of_sessions = sessions(named[columns["session"]]) if "session" in columns else None
        return Events(users, items, types, moments(named[columns["time"]]), of_sessions)

    return Parse(read, read_columns if regular else None)
