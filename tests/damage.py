"""Ways in which an artifact in a store goes bad, each of which somebody has met."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import numpy as np
from safetensors import numpy as safetensors

from stream.knowledge.manifest import FILES, MANIFEST, FileEntry, Manifest, describe_file, encode_manifest
from stream.knowledge.store import ArtifactStore
from tests.artifacts import place_of

Damage = Callable[[ArtifactStore, Manifest], None]


def rewrite(store: ArtifactStore, manifest: Manifest, name: str, change: Callable[[Path], None]) -> None:
    """Changes a file and makes the manifest agree with it: what a hostile or faulty writer could publish."""
    directory = place_of(store, manifest.id)
    change(directory / name)
    files = {**manifest.files, name: describe_file(directory / name)}
    write_manifest(store, manifest, files=files)


def write_manifest(store: ArtifactStore, manifest: Manifest, **changes: object) -> None:
    """Puts another manifest in its place."""
    changed = encode_manifest(msgspec.structs.replace(manifest, **changes))
    (place_of(store, manifest.id) / MANIFEST).write_bytes(changed)


def change_arrays(change: Callable[[dict[str, np.ndarray]], None]) -> Callable[[Path], None]:
    """Of a safetensors file."""

    def rewritten(path: Path) -> None:
        arrays = safetensors.load_file(path)
        change(arrays)
        safetensors.save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)

    return rewritten


def flipped(name: str) -> Damage:
    """One bit in the middle of a file."""

    def damage(store: ArtifactStore, manifest: Manifest) -> None:
        path = place_of(store, manifest.id) / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return damage


def cut(name: str) -> Damage:
    """The second half of a file is gone."""

    def damage(store: ArtifactStore, manifest: Manifest) -> None:
        path = place_of(store, manifest.id) / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


def missing(name: str) -> Damage:
    """A file is gone."""
    return lambda store, manifest: (place_of(store, manifest.id) / name).unlink()


def filled(name: str, array: str, value: float) -> Damage:
    """An array full of one value, hashes and manifest agreeing."""

    def damage(store: ArtifactStore, manifest: Manifest) -> None:
        rewrite(store, manifest, name, change_arrays(lambda arrays: arrays[array].fill(value)))

    return damage


def lying(**changes: object) -> Damage:
    """A manifest that says something else."""
    return lambda store, manifest: write_manifest(store, manifest, **changes)


def with_file(name: str, entry: FileEntry) -> Damage:
    """A manifest that names a file as it is not, or one more."""
    return lambda store, manifest: write_manifest(store, manifest, files={**manifest.files, name: entry})


DAMAGES: Mapping[str, Damage] = {
    **{f"one bit of {name}": flipped(name) for name in (*FILES, MANIFEST)},
    **{f"half of {name}": cut(name) for name in (*FILES, MANIFEST)},
    **{f"no {name}": missing(name) for name in (*FILES, MANIFEST)},
    "weights that are no numbers": filled("encoder.safetensors", "encoder.query", np.nan),
    "infinite weights": filled("ranker.safetensors", "linear", np.inf),
    "weights that come to no number": filled("ranker.safetensors", "linear", 3e38),
    "a format of the future": lying(format_version=99),
    "a path out of its directory": with_file("../../outside", FileEntry(1, "0" * 64)),
    "an absolute path": with_file("/etc/passwd", FileEntry(1, "0" * 64)),
    "a size that lies": with_file("index.faiss", FileEntry(1 << 50, "0" * 64)),
    "more items than there are": lying(items=10**15),
    "the manifest of another": lying(id="20261123T120000Z-ffff"),
}
