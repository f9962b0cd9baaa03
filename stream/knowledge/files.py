"""A snapshot as files and back: safetensors, Parquet, FAISS and JSON, never pickle."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from sys import intern
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import numpy as safetensors
from safetensors import safe_open

from indexing.candidates import feature_names
from indexing.habits import Habits
from indexing.source import Source
from indexing.sources import check, source
from indexing.trending import Trending
from indexing.vectors import VectorIndex
from indexing.wanted import Wanted
from models.encoder import HistoryEncoder
from models.features import PIPELINE, PRICE_BUCKETS
from models.ranker import Ranker
from models.tower import ItemTower
from models.vocabulary import Vocabulary
from stream.failpoints import failpoint
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.checks import (
    ENCODER,
    LATER,
    RANKER,
    TRENDING,
    Shape,
    check_finite,
    check_shapes,
    check_trending,
)
from stream.knowledge.index_file import check_index_file
from stream.knowledge.manifest import ArtifactError, Manifest
from stream.knowledge.snapshot import Snapshot
from stream.wire.messages import Item

ENCODER_FILE, RANKER_FILE, MEMORY_FILE = "encoder.safetensors", "ranker.safetensors", "memory.safetensors"
REPURCHASE = "repurchase.rates"  # in the memory file; an artifact without it leaves out nothing that was bought
ITEMS_FILE, INDEX_FILE, FEATURES_FILE = "items.parquet", "index.faiss", "features.json"
ITEMS_SCHEMA = pa.schema(
    [
        ("row", pa.int32()),
        ("item_id", pa.string()),
        ("count", pa.float32()),
        ("title", pa.string()),
        ("category", pa.list_(pa.string())),
        ("brand", pa.string()),
        ("price", pa.float64()),
        ("available", pa.bool_()),
    ]
)
AT_ONCE = 20_000  # items written together: more take memory
COPIED = 250_000  # numbers
NAMES_AT_ONCE = 1_000  # whose strings are made while other threads wait: some tenths of a millisecond
LARGEST_UNCOMPRESSED = 1000  # times the size of items.parquet; ours come to about 4


class FeaturesFile(msgspec.Struct, frozen=True):
    """`features.json`: what the numbers in the arrays stand for."""

    pipeline: str
    token_buckets: int
    price_buckets: int
    event_types: tuple[str, ...]
    ranker: tuple[str, ...]
    unwanted: tuple[str, ...] = ("dislike",)  # event types, as in the first release
    sources: tuple[str, ...] = ("sessions", "covisitation")  # the first release had these and did not name them


def write_snapshot(snapshot: Snapshot, catalogue: Catalogue, directory: Path) -> None:
    """Writes the contract's data files (all but manifest and README); the same snapshot gives the same bytes."""
    learned = {"item_vectors": snapshot.item_vectors}
    learned |= _prefixed("encoder", snapshot.encoder.arrays()) | _prefixed("tower", snapshot.tower.arrays())
    memory = {REPURCHASE: snapshot.repurchase} | _prefixed("trending", snapshot.trending.arrays())
    memory |= _prefixed("wanted", snapshot.wanted.arrays()) | _prefixed("habits", snapshot.habits.arrays())
    for name, built in snapshot.memories.items():
        memory |= _prefixed(name, built.arrays())
    _save(learned, directory / ENCODER_FILE)
    _save(snapshot.ranker.arrays(), directory / RANKER_FILE)
    _save(memory, directory / MEMORY_FILE)
    pq.write_table(_items_table(snapshot, catalogue), directory / ITEMS_FILE, compression="zstd")
    failpoint("write.items.parquet")
    snapshot.vectors.save(directory / INDEX_FILE)
    failpoint("write.index.faiss")
    (directory / FEATURES_FILE).write_bytes(
        msgspec.json.format(msgspec.json.encode(features_of(snapshot)), indent=1) + b"\n"
    )
    failpoint("write.features.json")


def read_snapshot(directory: Path, manifest: Manifest, memory_left: int | None = None) -> Snapshot:
    """The snapshot in files that have been found to be the manifest's.

    Raises ArtifactError where they do not fit together: shapes, rows out of range, numbers that are not finite; and
    before it reads any where they come to more than the bytes of `memory_left`.
    """
    try:
        if memory_left is not None:
            _check_room(directory, manifest, memory_left)
        return _read(directory, manifest)
    except ArtifactError as error:
        raise ArtifactError(f"artifact {manifest.id}: {error}") from None
    except Exception as error:  # the boundary to a bad artifact: whatever its readers say, it is not used
        raise ArtifactError(f"artifact {manifest.id} cannot be read: {type(error).__name__}: {error}") from error


def read_items(directory: Path, items: int) -> pa.Table:
    """`items.parquet` of an artifact with so many items, in the order of rows. Raises ArtifactError."""
    path = directory / ITEMS_FILE
    with pq.ParquetFile(path) as file:
        facts = file.metadata
        if _unpacked(facts) > LARGEST_UNCOMPRESSED * max(path.stat().st_size, 1):
            raise ArtifactError(f"{ITEMS_FILE} would unpack to more than {LARGEST_UNCOMPRESSED} times its size")
        if facts.num_rows != items:
            raise ArtifactError(f"{ITEMS_FILE} has {facts.num_rows} rows, the manifest says {items}")
        if not file.schema_arrow.equals(ITEMS_SCHEMA):
            raise ArtifactError(f"{ITEMS_FILE} has other columns than this format's")
        table = file.read(use_threads=False)  # a server's other cores have lists to make
    if not np.array_equal(table["row"].to_numpy(), np.arange(items)) or table["item_id"].null_count:
        raise ArtifactError(f"{ITEMS_FILE} does not number its items 0..{items - 1}")
    return table


def features_of(snapshot: Snapshot) -> FeaturesFile:
    """The feature pipeline of a snapshot."""
    sources = tuple(snapshot.memories)
    return FeaturesFile(
        pipeline=PIPELINE,
        token_buckets=snapshot.tower.buckets,
        price_buckets=PRICE_BUCKETS,
        event_types=snapshot.event_types,
        ranker=feature_names(sources),
        unwanted=snapshot.unwanted,
        sources=sources,
    )


def architecture_of(snapshot: Snapshot) -> dict[str, Any]:
    """Shapes for the manifest."""
    shapes = {name: list(array.shape) for name, array in snapshot.encoder.arrays().items()}
    return {
        "dimensions": snapshot.tower.dimensions,
        "encoder": {"kind": "one pre-LayerNorm attention block", "history": snapshot.encoder.length, "shapes": shapes},
        "tower": {name: list(array.shape) for name, array in snapshot.tower.arrays().items()},
        "ranker": {name: list(array.shape) for name, array in snapshot.ranker.arrays().items()},
        "index": {"kind": type(snapshot.vectors.index).__name__, "vectors": len(snapshot.vectors)},
    }


def _check_room(directory: Path, manifest: Manifest, memory_left: int) -> None:
    needed = sum(entry.size for name, entry in manifest.files.items() if name != ITEMS_FILE)
    with pq.ParquetFile(directory / ITEMS_FILE) as file:
        needed += _unpacked(file.metadata)
    if needed > memory_left:
        raise ArtifactError(f"it takes {needed} bytes of memory at least, {memory_left} are left")


def _unpacked(facts: pq.FileMetaData) -> int:
    return sum(facts.row_group(group).total_byte_size for group in range(facts.num_row_groups))


def _read(directory: Path, manifest: Manifest) -> Snapshot:
    features = msgspec.json.decode((directory / FEATURES_FILE).read_bytes(), type=FeaturesFile)
    if features.pipeline != PIPELINE:
        raise ArtifactError(
            f"{FEATURES_FILE} names the pipeline {features.pipeline[:80]!r}, this release has {PIPELINE}"
        )
    sizes = {
        "N": manifest.items,
        "E": len(features.event_types),
        "T": features.token_buckets,
        "R": len(features.ranker),
    }
    learned = _load(directory / ENCODER_FILE)
    check_shapes(learned, {**ENCODER, **_present(LATER, learned)}, sizes, ENCODER_FILE)
    ranker = _load(directory / RANKER_FILE)
    check_shapes(ranker, RANKER, sizes, RANKER_FILE)
    memory = _load(directory / MEMORY_FILE)
    check_shapes(memory, {**TRENDING, **_present(LATER, memory)}, sizes, MEMORY_FILE)
    check_trending(memory, manifest.items, MEMORY_FILE)
    table = read_items(directory, manifest.items)
    counts = np.array(table["count"].to_numpy(), np.float32)
    check_finite({"count": counts}, ITEMS_FILE)
    vectors = _index(directory / INDEX_FILE, manifest.items, sizes["D"])
    item_vectors = learned["item_vectors"]
    return Snapshot(
        artifact_id=manifest.id,
        parent=manifest.parent,
        seed=manifest.seed,
        vocabulary=Vocabulary(_names(table)),
        item_vectors=item_vectors,
        counts=counts,
        encoder=HistoryEncoder.from_arrays(_part("encoder", learned), item_vectors),
        tower=ItemTower.from_arrays(_part("tower", learned)),
        vectors=vectors,
        memories=_memories(memory, features.sources, manifest.items),
        trending=Trending.from_arrays(_part("trending", memory)),
        wanted=_wanted(_part("wanted", memory), manifest.items, len(features.event_types)),
        ranker=Ranker.from_arrays(ranker).for_features(features.ranker, feature_names(features.sources)),
        event_types=features.event_types,
        unwanted=features.unwanted,
        repurchase=memory.get(REPURCHASE, np.ones(manifest.items, np.float32)),
        habits=_habits(_part("habits", memory), manifest.items),
    )


def _index(path: Path, items: int, dimensions: int) -> VectorIndex:
    check_index_file(path, items, dimensions)
    vectors = VectorIndex.load(path)
    if not vectors.names_each_row_once():
        raise ArtifactError(f"{INDEX_FILE} does not name each row once")
    return vectors


def _wanted(arrays: Mapping[str, np.ndarray], items: int, types: int) -> Wanted:
    wanted = Wanted.from_arrays(arrays) if arrays else Wanted.nothing(items, types)
    if (wanted.counts < 0).any():
        raise ArtifactError(f"{MEMORY_FILE}: wanted.counts has counts below zero")
    return wanted


def _habits(arrays: Mapping[str, np.ndarray], items: int) -> Habits:
    habits = Habits.from_arrays(arrays) if arrays else Habits.nothing(items)
    if (habits.counts < 0).any():
        raise ArtifactError(f"{MEMORY_FILE}: habits.counts has counts below zero")
    return habits


def _memories(arrays: Mapping[str, np.ndarray], names: Sequence[str], items: int) -> dict[str, Source]:
    """The sources with these names. Raises ArtifactError for one that is unknown here or does not fit."""
    try:
        check(names)
    except ValueError as error:
        raise ArtifactError(f"{FEATURES_FILE}: {error}") from None
    memories: dict[str, Source] = {}
    for name in names:
        try:
            memories[name] = source(name).from_arrays(_part(name, arrays), items)
        except ValueError as error:
            raise ArtifactError(f"{MEMORY_FILE}, {name}: {error}") from None
    return memories


def _items_table(snapshot: Snapshot, catalogue: Catalogue) -> pa.Table:
    ids = snapshot.vocabulary.ids
    parts = [ITEMS_SCHEMA.empty_table()]
    for begin in range(0, len(ids), AT_ONCE):
        names = ids[begin : begin + AT_ONCE]
        known = [catalogue.get(item_id) or Item(item_id) for item_id in names]
        columns = {
            "row": np.arange(begin, begin + len(names), dtype=np.int32),
            "item_id": names,
            "count": np.asarray(snapshot.counts[begin : begin + len(names)], np.float32),
            "title": [item.title for item in known],
            "category": catalogue.categories(names),
            "brand": [item.brand for item in known],
            "price": [item.price for item in known],
            "available": [item.available for item in known],
        }
        parts.append(pa.table(columns, schema=ITEMS_SCHEMA))
    return pa.concat_tables(parts)


def _names(table: pa.Table) -> Iterator[str]:
    """The item ids, some at a time, each the one string that all artifacts and the catalogue share."""
    names = table["item_id"]
    for begin in range(0, len(table), NAMES_AT_ONCE):
        yield from map(intern, names.slice(begin, NAMES_AT_ONCE).to_pylist())


def _load(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, copied some megabytes at a time: each copy keeps other threads waiting."""
    arrays = {}
    with safe_open(path, framework="np") as file:
        for name in file.keys():  # noqa: SIM118  # not a dict
            part = file.get_slice(name)
            shape = part.get_shape()
            step = max(COPIED * max(shape[:1], default=1) // max(math.prod(shape), 1), 1)
            if len(shape) == 0 or shape[0] <= step:
                arrays[name] = file.get_tensor(name)
                continue
            first = part[:step]
            arrays[name] = np.empty(shape, first.dtype)
            arrays[name][:step] = first
            for begin in range(step, shape[0], step):
                arrays[name][begin : begin + step] = part[begin : min(begin + step, shape[0])]
    return arrays


def _save(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    safetensors.save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    failpoint(f"write.{path.name}")


def _prefixed(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{prefix}.{name}": array for name, array in arrays.items()}


def _present(shapes: Mapping[str, Shape], arrays: Mapping[str, np.ndarray]) -> dict[str, Shape]:
    return {name: shape for name, shape in shapes.items() if name in arrays}


def _part(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    start = prefix + "."
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
