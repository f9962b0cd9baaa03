"""Item files that lie beside the event files of some data sets (`alluvium replay … --items FILE`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from stream.shop.interactions import NO_ITEM, FieldError, identity, moment, number, words
from stream.shop.rows import Fields, RowFile, RowProblem
from stream.wire.messages import Item

NOT_AVAILABLE = {"false", "0", "no"}
MOVIELENS_COLUMNS = ("movieId", "title", "genres")


def read_items(path: Path) -> Iterator[tuple[int, Item | RowProblem]]:
    """The items of a file with their line numbers. Raises ValueError for a file that is none of the known.

    Known are MovieLens films, DIGINETICA products, Retailrocket properties, and any file with a column `item_id` and
    some of `title`, `description`, `category` (a text or, in JSON Lines and Parquet, a path), `brand`, `price`,
    `currency`, `available`, `tags` and `published_at`.
    """
    file = RowFile(path)
    names = set(file.first)
    if {"timestamp", "itemid", "property", "value"} <= names:
        yield from _retailrocket(file)
        return
    columns = None
    if {"movieId", "title"} <= names:
        read = _film
    elif {"itemId", "product.name.tokens"} <= names:
        read = _diginetica
    elif "item_id" in names:
        read = _plain
    elif file.path.suffix == ".dat" and len(file.first) == 3:
        read, columns = _film, MOVIELENS_COLUMNS
    else:
        raise ValueError(f"{path.name} is no item file: its first row is {file.first[:10]}")
    for line, row in file.rows(columns):
        yield line, row if isinstance(row, RowProblem) else _read(read, row)


def _read(read: Callable[[Fields], Item], row: Fields) -> Item | RowProblem:
    try:
        return read(row)
    except FieldError as error:
        return RowProblem(error.reason, str(error))


def _film(row: Fields) -> Item:
    genres = [genre for genre in str(row.get("genres") or "").split("|") if genre and not genre.startswith("(")]
    return Item(
        identity(row["movieId"], NO_ITEM),
        title=words(row["title"]),
        category=genres[0] if genres else None,
        tags=genres or None,
    )


def _diginetica(row: Fields) -> Item:
    log_price = number(row.get("pricelog2"), "pricelog2")
    name = words(row["product.name.tokens"])
    return Item(
        identity(row["itemId"], NO_ITEM),
        title=None if name is None else name.replace(",", " "),
        price=None if log_price is None else round(2.0**log_price, 2),
    )


def _plain(row: Fields) -> Item:
    category, tags, published = row.get("category"), row.get("tags"), row.get("published_at")
    return Item(
        identity(row.get("item_id"), NO_ITEM),
        title=words(row.get("title")),
        description=words(row.get("description")),
        category=[str(part) for part in category] or None if isinstance(category, list) else words(category),
        brand=words(row.get("brand")),
        price=number(row.get("price"), "price"),
        currency=words(row.get("currency")),
        available=str(row.get("available")).strip().lower() not in NOT_AVAILABLE,
        tags=[str(tag) for tag in tags] if isinstance(tags, list) and tags else None,
        published_at=None if words(published) is None else moment(published),
    )


def _retailrocket(file: RowFile) -> Iterator[tuple[int, Item | RowProblem]]:
    """The newest category and availability of each item; its other properties are hashed and say nothing to people."""
    newest: dict[tuple[str, str], tuple[int, int, str]] = {}
    for line, row in file.rows():
        if isinstance(row, RowProblem):
            yield line, row
            continue
        if row["property"] not in ("categoryid", "available"):
            continue
        try:
            key = (identity(row["itemid"], NO_ITEM), str(row["property"]))
            newest[key] = max(newest.get(key, (0, 0, "")), (moment(row["timestamp"]), line, str(row["value"])))
        except FieldError as error:
            yield line, RowProblem(error.reason, str(error))
    for item_id in dict.fromkeys(item_id for item_id, _property in newest):
        _, line, category = newest.get((item_id, "categoryid"), (0, 0, ""))
        _, other, available = newest.get((item_id, "available"), (0, 0, "1"))
        yield max(line, other), Item(item_id, category=words(category), available=available != "0")
