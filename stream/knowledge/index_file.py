"""Whether a FAISS file is one of the two kinds that we write, its sizes those of its artifact, before FAISS reads it.

FAISS believes a file: it takes as much memory as the file says, opens other files that it names, and answers with
whatever ids stand in it. So each size is looked at first, in the order in which they stand.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO, Any

from stream.knowledge.manifest import ArtifactError

FLAT, INVERTED, IN_MEMORY, ALL_LISTS, SOME_LISTS = b"IxFI", b"IwFl", b"ilar", b"full", b"sprs"
HEADER = "<iqqq?i"  # dimensions, vectors, two unused, trained, metric
INNER_PRODUCT = 0
ID_BYTES, NUMBER_BYTES = 8, 4


def check_index_file(path: Path, items: int, dimensions: int) -> None:
    """Raises ArtifactError unless the file is an index of `items` vectors of `dimensions` by inner product, no more."""
    try:
        with path.open("rb") as file:
            end = _check(file, items, dimensions)
    except struct.error:
        raise ArtifactError(f"{path.name} ends too early") from None
    if end != path.stat().st_size:
        raise ArtifactError(f"{path.name} has {path.stat().st_size} bytes, its sizes come to {end}")


def _check(file: IO[bytes], items: int, dimensions: int) -> int:
    """Where the file has to end."""
    kind = file.read(4)
    if kind == FLAT:
        _header(file, items, dimensions)
        return _vectors(file, items, dimensions)
    if kind != INVERTED:
        raise ArtifactError(f"index.faiss is of kind {kind!r}, not {FLAT!r} or {INVERTED!r}")
    _header(file, items, dimensions)
    lists, _probes = _read(file, "<QQ")
    if not 1 <= lists <= max(items, 1):
        raise ArtifactError(f"index.faiss has {lists} lists for {items} vectors")
    if file.read(4) != FLAT:
        raise ArtifactError("index.faiss has lists that are not found by an exact search")
    _header(file, lists, dimensions)
    file.seek(_vectors(file, lists, dimensions))
    if _read(file, "<bQ") != (0, 0):
        raise ArtifactError("index.faiss has a map of its own")
    return _inverted_lists(file, lists, items, dimensions)


def _header(file: IO[bytes], vectors: int, dimensions: int) -> None:
    found_dimensions, found, _, _, trained, metric = _read(file, HEADER)
    if (found, found_dimensions) != (vectors, dimensions):
        raise ArtifactError(f"index.faiss holds {found} vectors of {found_dimensions}, not {vectors} of {dimensions}")
    if not trained or metric != INNER_PRODUCT:
        raise ArtifactError("index.faiss does not rank by inner product")


def _vectors(file: IO[bytes], vectors: int, dimensions: int) -> int:
    (numbers,) = _read(file, "<Q")
    if numbers not in (vectors * dimensions, NUMBER_BYTES * vectors * dimensions):  # counted in numbers or in bytes
        raise ArtifactError(f"index.faiss says it has {numbers} numbers, not {vectors} x {dimensions}")
    return file.tell() + NUMBER_BYTES * vectors * dimensions


def _inverted_lists(file: IO[bytes], lists: int, items: int, dimensions: int) -> int:
    if file.read(4) != IN_MEMORY:
        raise ArtifactError("index.faiss keeps its lists elsewhere")
    if _read(file, "<QQ") != (lists, NUMBER_BYTES * dimensions):
        raise ArtifactError("index.faiss has lists of another size than its own")
    form = file.read(4)
    (count,) = _read(file, "<Q")
    if form not in (ALL_LISTS, SOME_LISTS) or (count != lists if form == ALL_LISTS else count > 2 * lists or count % 2):
        raise ArtifactError(f"index.faiss has {count} sizes for {lists} lists")
    sizes = _read(file, f"<{count}Q")
    if form == SOME_LISTS and any(number >= lists for number in sizes[::2]):
        raise ArtifactError("index.faiss names a list that it has not")
    if sum(sizes if form == ALL_LISTS else sizes[1::2]) != items:
        raise ArtifactError(f"index.faiss has lists of other sizes than {items} vectors together")
    return file.tell() + items * (NUMBER_BYTES * dimensions + ID_BYTES)


def _read(file: IO[bytes], form: str) -> tuple[Any, ...]:
    return struct.unpack(form, file.read(struct.calcsize(form)))
