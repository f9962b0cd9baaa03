"""Whether arrays from outside fit together: a file may be whole and still not be ours.

Compiled loops follow the numbers in these arrays without looking, so each is looked at here, once, when an artifact is
read.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from indexing.arrays import check_rows
from indexing.trending import HALF_LIVES_MS
from models.features import PRICE_BUCKETS
from models.gaps import GAP_BUCKETS
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
LATER: Mapping[str, Shape] = {  # what the first artifacts of this format have not
    "encoder.intents": ("E", "D"),
    "repurchase.rates": ("N",),
    "wanted.counts": ("E", "N"),
    "habits.counts": ("N", 4),
    "habits.last_seen": ("N",),
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
TRENDING: Mapping[str, Shape] = {
    "trending.counts": ("N", len(HALF_LIVES_MS)),
    "trending.order": ("N",),
    "trending.first_seen": ("N",),
}
TRENDING_KINDS: Mapping[str, type[np.generic]] = {
    "trending.counts": np.float32,
    "trending.order": np.int32,
    "trending.first_seen": np.int64,
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


def check_trending(memory: Arrays, items: int, file: str) -> None:
    """Raises ArtifactError unless the trending arrays are of their kinds and name known items."""
    for name, kind in TRENDING_KINDS.items():
        if memory[name].dtype != kind:
            raise ArtifactError(f"{file}: {name} holds {memory[name].dtype}, not {np.dtype(kind)}")
    try:
        check_rows("trending.order", memory["trending.order"], items)
    except ValueError as error:
        raise ArtifactError(f"{file}: {error}") from None


def _size(letter: str, size: int, sizes: dict[str, int]) -> int:
    base, _, more = letter.partition("+")
    extra = int(more or 0)
    return sizes.setdefault(base, size - extra) + extra
