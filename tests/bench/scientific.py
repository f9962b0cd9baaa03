"""Amazon Scientific, in the files of DecoRec, as what `alluvium evaluate` reads: sequences and items with their texts.

    python tests/bench/scientific.py amazon_text .
    alluvium evaluate scientific.txt --items scientific_items.jsonl --protocol leave-last-out --hide-items 0.1 \
        --against content

The files hold prefixes of each user's sequence, of ten items at most; the sequences are put together from them.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path


def rows(folder: Path, name: str) -> list[list[str]]:
    """The rows of one of the files, tab-separated, quotes meaning nothing."""
    with gzip.open(folder / f"decorec_Scientific.{name}.gz", "rt", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def sequences(folder: Path) -> dict[str, list[str]]:
    """Each user's items, oldest first: the training rows hold the longest prefix first, a row of names comes before."""
    names = {number: item for item, number in rows(folder, "item2index")}
    found: dict[str, list[str]] = {}
    later = [*rows(folder, "valid.inter")[1:], *rows(folder, "test.inter")[1:]]
    for user, history, target in [*rows(folder, "train.inter")[:0:-1], *later]:
        found.setdefault(user, history.split()).append(target)
    return {user: [names[number] for number in numbers] for user, numbers in found.items()}


def main(source: str, target: str) -> None:
    """Writes both files."""
    folder, out = Path(source), Path(target)
    lines = [f"{user} {' '.join(items)}\n" for user, items in sequences(folder).items()]
    (out / "scientific.txt").write_text("".join(lines), "utf-8")
    items = [json.dumps({"item_id": item, "title": text}) + "\n" for item, text in rows(folder, "text")[1:]]
    (out / "scientific_items.jsonl").write_text("".join(items), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
