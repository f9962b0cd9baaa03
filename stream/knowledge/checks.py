"""Whether arrays from outside fit together: a file may be whole and still not be ours.

Compiled loops follow the numbers in these arrays without looking, so each is looked at here, once, when an artifact is
read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from indexing.trending import HALF_LIVES_MS
from models.encoder import GAP_BUCKETS
from models.features import PRICE_BUCKETS
from stream.knowledge.manifest import ArtifactError

Arrays = Mapping[str, np.ndarray]
Shape = tuple[str | int, ...]

# Each name's shape in sizes that must agree wherever the same letter stands. N items, D dimensions, E event types,
# H heads, L the longest history, F the feed-forward width, T token buckets; R features of the ranker, W its width.
ENCODER: Mapping[str, Shape] = {
    "item_vectors": ("N", "D"),
    "tower.identities": ("N", "D"),
    "tower.tokens": ("T", "D"),
    "tower.prices": (PRICE_BUCKETS, "D"),
    "tower.halfway": (1,),
    "encoder.types": ("E", "D"),
    "encoder.gaps": (GAP_BUCKETS + 1, "D"),
    "encoder.distances": ("H", "L"),
    "encoder.recency": ("H", GAP_BUCKETS),
    **{f"encoder.norm{number}": (2, "D") for number in (1, 2, 3)},
    **{f"encoder.{name}": ("D", "D") for name in ("query", "key", "value", "output")},
    "encoder.inner": ("F", "D"),
    "encoder.inner_bias": ("F",),
    "encoder.outer": ("D", "F"),
    "encoder.outer_bias": ("D",),
}
RANKER: Mapping[str, Shape] = {
    "mean": ("R",),
    "scale": ("R",),
    "linear": ("R",),
    "inner": ("W", "R"),
    "bias": ("W",),
    "outer": ("W",),
    "trained": (1,),
}
MEMORY: Mapping[str, Shape] = {
    "sessions.session_starts": ("S+1",),
    "sessions.session_items": ("P",),
    "sessions.session_weights": ("S",),
    "sessions.item_starts": ("N+1",),
    "sessions.item_sessions": ("Q",),
    "sessions.item_positions": ("Q",),
    "covisitation.starts": ("N+1",),
    "covisitation.rows": ("C",),
    "covisitation.scores": ("C",),
    "trending.counts": ("N", len(HALF_LIVES_MS)),
    "trending.order": ("N",),
    "trending.first_seen": ("N",),
}

KINDS: Mapping[type[np.generic], tuple[str, ...]] = {
    np.int64: ("sessions.session_starts", "sessions.item_starts", "covisitation.starts", "trending.first_seen"),
    np.int32: ("sessions.session_items", "sessions.item_sessions", "covisitation.rows", "trending.order"),
    np.uint8: ("sessions.item_positions",),
    np.float32: ("sessions.session_weights", "covisitation.scores", "trending.counts"),
}


def check_shapes(arrays: Arrays, shapes: Mapping[str, Shape], sizes: dict[str, int], file: str) -> None:
    """Raises ArtifactError unless every named array is there with its shape, its numbers finite; fills in `sizes`."""
    for name, shape in shapes.items():
        array = arrays.get(name)
        if array is None:
            raise ArtifactError(f"{file} lacks {name}")
        if array.ndim != len(shape):
            raise ArtifactError(f"{file}: {name} has shape {array.shape}, not {shape}")
        for letter, size in zip(shape, array.shape, strict=True):
            wanted = letter if isinstance(letter, int) else _size(letter, size, sizes)
            if size != wanted:
                raise ArtifactError(f"{file}: {name} has shape {array.shape}, but {letter} is {wanted}")
    check_finite(arrays, file)


def check_finite(arrays: Arrays, file: str) -> None:
    """Raises ArtifactError for a number that is not finite."""
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise ArtifactError(f"{file}: {name} holds {array.dtype}, not numbers")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ArtifactError(f"{file}: {name} holds numbers that are not finite")


def check_memory(memory: Arrays, items: int, file: str) -> None:
    """Raises ArtifactError unless all lists of the memory lie inside their arrays and all rows are known items."""
    for kind, names in KINDS.items():
        _check_kinds(memory, names, kind, file)
    _check_lists(memory["sessions.session_starts"], len(memory["sessions.session_items"]), "sessions", file)
    _check_lists(memory["sessions.item_starts"], len(memory["sessions.item_sessions"]), "sessions of items", file)
    _check_lists(memory["covisitation.starts"], len(memory["covisitation.rows"]), "covisitation", file)
    sessions = len(memory["sessions.session_weights"])
    _check_range(memory["sessions.session_items"], items, "sessions.session_items", file)
    _check_range(memory["sessions.item_sessions"], sessions, "sessions.item_sessions", file)
    _check_range(memory["covisitation.rows"], items, "covisitation.rows", file)
    _check_range(memory["trending.order"], items, "trending.order", file)


def _size(letter: str, size: int, sizes: dict[str, int]) -> int:
    base, _, more = letter.partition("+")
    extra = int(more or 0)
    return sizes.setdefault(base, size - extra) + extra


def _check_kinds(arrays: Arrays, names: Iterable[str], kind: type[np.generic], file: str) -> None:
    for name in names:
        if arrays[name].dtype != kind:
            raise ArtifactError(f"{file}: {name} holds {arrays[name].dtype}, not {np.dtype(kind)}")


def _check_lists(starts: np.ndarray, entries: int, name: str, file: str) -> None:
    if len(starts) == 0 or starts[0] != 0 or starts[-1] != entries or (np.diff(starts) < 0).any():
        raise ArtifactError(f"{file}: the lists of {name} do not lie inside their array")


def _check_range(numbers: np.ndarray, below: int, name: str, file: str) -> None:
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= below):
        raise ArtifactError(f"{file}: {name} points outside of 0..{below - 1}")
