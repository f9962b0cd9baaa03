"""What is damaged, hostile or from the future is refused with a reason, and never served."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import faiss
import msgspec
import numpy as np
import pytest

from indexing.candidates import feature_names
from stream.knowledge.manifest import (
    FILES,
    MANIFEST,
    README,
    ArtifactError,
    FileEntry,
    Manifest,
    decode_manifest,
    encode_manifest,
)
from stream.knowledge.store import ArtifactStore
from tests.artifacts import ITEMS, place_of, publish_made
from tests.damage import change_arrays, rewrite
from tests.worlds import MEMORIES


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_one_flipped_byte_is_found(store: ArtifactStore, name: str) -> None:
    """Each file of an artifact with one bit flipped in its middle is refused; the announcement pins the manifest."""
    manifest = publish_made(store)
    pinned = store.manifest_sha256(manifest.id)
    path = place_of(store, manifest.id) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=name):
        store.open(manifest.id, pinned)
    assert store.verify(manifest.id, pinned) != []


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_missing_or_truncated_file_is_found(store: ArtifactStore, name: str) -> None:
    """Neither a shorter file nor none at all is accepted, and both are named."""
    manifest = publish_made(store)
    path = place_of(store, manifest.id) / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] if name != MANIFEST else content[: len(content) // 2])
    assert name in store.verify(manifest.id)[0]
    path.unlink()
    assert name in store.verify(manifest.id)[0]


def test_a_link_is_no_file_of_an_artifact(store: ArtifactStore, tmp_path: Path) -> None:
    """A symbolic link to the very same bytes is refused: an artifact holds its files itself."""
    manifest = publish_made(store)
    path = place_of(store, manifest.id) / README
    elsewhere = tmp_path / README
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert store.verify(manifest.id) == [f"artifact {manifest.id}: {README} is not a plain file"]


def with_files(manifest: Manifest, **entries: FileEntry) -> Manifest:
    return msgspec.structs.replace(manifest, files={**manifest.files, **entries})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: with_files(m, **{"../../outside": FileEntry(1, "0" * 64)}), "no others"),
        (lambda m: with_files(m, **{"/etc/passwd": FileEntry(1, "0" * 64)}), "no others"),
        (lambda m: with_files(m, **{"weights.pickle": FileEntry(1, "0" * 64)}), "no others"),
        (lambda m: with_files(m, **{README: FileEntry(-1, "0" * 64)}), "no valid size"),
        (lambda m: with_files(m, **{README: FileEntry(1, "../x")}), "no valid size"),
        (lambda m: msgspec.structs.replace(m, files={}), "must name the files"),
        (lambda m: msgspec.structs.replace(m, id="20261123T120000Z-ffff"), "is of"),
        (lambda m: msgspec.structs.replace(m, parent="../up"), "parent"),
        (lambda m: msgspec.structs.replace(m, items=-1), "negative"),
        (lambda m: msgspec.structs.replace(m, format_version=99), "format version 99.*upgrade alluvium"),
    ],
)
def test_a_hostile_manifest_is_refused(store: ArtifactStore, change: Callable[[Manifest], Manifest], says: str) -> None:
    """Names of other files, impossible sizes, another artifact's id, a version from the future: refused before use."""
    manifest = publish_made(store)
    (place_of(store, manifest.id) / MANIFEST).write_bytes(encode_manifest(change(manifest)))
    with pytest.raises(ArtifactError, match=says):
        store.open(manifest.id)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"format_version": "1"}', b"[" * 100_000])
def test_a_manifest_that_is_none_is_refused(content: bytes) -> None:
    """Whatever stands in manifest.json, the answer is an ArtifactError."""
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        decode_manifest(content, "20261123T120000Z-3f9c")


@pytest.mark.parametrize(
    "artifact", ["../other", "latest/..", "/etc", "20261123T120000Z-3f9c/..", "20269923T120000Z-3f9c", ""]
)
def test_only_ids_are_opened(store: ArtifactStore, artifact: str) -> None:
    """A name that is no artifact id never becomes a path."""
    with pytest.raises(ArtifactError, match="no artifact id"):
        store.open(artifact)


@pytest.mark.parametrize(
    ("name", "array", "value", "says"),
    [
        ("encoder.safetensors", "item_vectors", np.nan, "not finite"),
        ("encoder.safetensors", "encoder.query", np.inf, "not finite"),
        ("encoder.safetensors", "tower.tokens", -np.inf, "not finite"),
        ("ranker.safetensors", "linear", np.nan, "not finite"),
        ("memory.safetensors", "sessions.session_weights", np.nan, "not finite"),
        ("memory.safetensors", "covisitation.scores", np.inf, "not finite"),
        ("memory.safetensors", "covisitation.rows", ITEMS, "outside"),
        ("memory.safetensors", "sessions.session_items", -1, "outside"),
        ("memory.safetensors", "sessions.item_sessions", 10**6, "outside"),
        ("memory.safetensors", "covisitation.starts", 3, "inside their array"),
        ("memory.safetensors", "sessions.session_starts", -5, "inside their array"),
        ("memory.safetensors", "wanted.counts", -2, "below zero"),
        ("memory.safetensors", "habits.counts", -2, "below zero"),
        ("memory.safetensors", "repurchase.rates", np.nan, "not finite"),
        ("encoder.safetensors", "encoder.intents", np.inf, "not finite"),
    ],
)
def test_bad_numbers_are_refused_though_the_hashes_agree(
    store: ArtifactStore, name: str, array: str, value: float, says: str
) -> None:
    """NaN, infinity, rows of no item and lists outside of their array are found when an artifact is read."""
    manifest = publish_made(store)

    def spoil(arrays: dict[str, np.ndarray]) -> None:
        arrays[array].flat[0] = value

    rewrite(store, manifest, name, change_arrays(spoil))
    with pytest.raises(ArtifactError, match=says):
        store.open(manifest.id)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("encoder.safetensors", "item_vectors"),
        ("encoder.safetensors", "encoder.intents"),
        ("memory.safetensors", "trending.counts"),
        ("memory.safetensors", "wanted.counts"),
        ("memory.safetensors", "habits.last_seen"),
        ("memory.safetensors", "repurchase.rates"),
    ],
)
def test_arrays_of_another_length_are_refused(store: ArtifactStore, name: str, array: str) -> None:
    """An array with one item more than the manifest has no place in the artifact."""
    manifest = publish_made(store)

    def lengthen(arrays: dict[str, np.ndarray]) -> None:
        arrays[array] = np.concatenate([arrays[array], arrays[array][:1]])

    rewrite(store, manifest, name, change_arrays(lengthen))
    with pytest.raises(ArtifactError, match=array):
        store.open(manifest.id)


def test_an_index_of_other_items_is_refused(store: ArtifactStore) -> None:
    """The index holds exactly one vector for each item."""
    manifest = publish_made(store)

    def shorten(path: Path) -> None:
        index = faiss.IndexFlatIP(16)
        index.add(np.zeros((ITEMS - 1, 16), np.float32))
        faiss.write_index(index, str(path))

    rewrite(store, manifest, "index.faiss", shorten)
    with pytest.raises(ArtifactError, match=f"{ITEMS - 1} vectors"):
        store.open(manifest.id)


@pytest.mark.parametrize("name", [file for file in FILES if file != README])
def test_noise_in_place_of_a_file_is_refused(store: ArtifactStore, name: str) -> None:
    """Bytes of no format, with the right hash in the manifest, end as an ArtifactError and nothing else."""
    manifest = publish_made(store)

    def overwrite(path: Path) -> None:
        path.write_bytes(np.random.default_rng(5).bytes(4096))

    rewrite(store, manifest, name, overwrite)
    assert len(store.verify(manifest.id)) == 1


def test_a_ranker_of_other_features_keeps_its_weights(store: ArtifactStore) -> None:
    """An older release's ranker is read by the names of its features: shuffled columns give the same scores, and a
    feature that it has never seen changes nothing.
    """
    manifest = publish_made(store)
    before = store.open(manifest.id).ranker
    names = feature_names(MEMORIES)
    order = [*reversed(range(1, len(names)))]  # the first feature did not exist then

    def shuffle(arrays: dict[str, np.ndarray]) -> None:
        for array in ("mean", "scale", "linear"):
            arrays[array] = arrays[array][order]
        arrays["inner"] = arrays["inner"][:, order]

    def rename(path: Path) -> None:
        features = json.loads(path.read_bytes())
        features["ranker"] = [names[place] for place in order]
        path.write_text(json.dumps(features))

    rewrite(store, manifest, "ranker.safetensors", change_arrays(shuffle))
    rewrite(store, store.manifest(manifest.id), "features.json", rename)
    after = store.open(manifest.id).ranker
    rows = np.random.default_rng(3).normal(size=(50, len(names))).astype(np.float32)
    without_first = rows.copy()
    without_first[:, 0] = 0.0
    np.testing.assert_allclose(after.score(rows), before.score(without_first), atol=1e-5)
