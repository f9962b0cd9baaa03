"""The artifact store: what goes in comes out, what was tampered with does not, and nothing half is ever seen."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path

import faiss
import msgspec
import numpy as np
import pytest
from safetensors import numpy as safetensors

from stream.knowledge.files import write_snapshot
from stream.knowledge.manifest import (
    FILES,
    MANIFEST,
    README,
    ArtifactError,
    FileEntry,
    Manifest,
    artifact_id,
    created_after,
    decode_manifest,
    describe_file,
    encode_manifest,
    is_artifact_id,
    sha256_of,
)
from stream.knowledge.sealing import seal
from stream.knowledge.store import BUILDING, ArtifactStore, StoreInUseError
from tests.artifacts import HOUR, ITEMS, NOON, drafted, made_snapshot, place_of, publish_made
from tests.worlds import clicked


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")


@pytest.fixture(params=["path", "file://", "memory://"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    urls = {
        "path": str(tmp_path / "artifacts"),
        "file://": f"file://{tmp_path}/artifacts",
        "memory://": f"memory://{uuid.uuid4().hex}/artifacts",
    }
    return ArtifactStore(urls[request.param], tmp_path / "cache")


def rewrite(store: ArtifactStore, manifest: Manifest, name: str, change: Callable[[Path], None]) -> None:
    """Changes a file and makes the manifest agree with it: what a hostile or faulty writer could publish."""
    directory = place_of(store, manifest.id)
    change(directory / name)
    files = {**manifest.files, name: describe_file(directory / name)}
    (directory / MANIFEST).write_bytes(encode_manifest(msgspec.structs.replace(manifest, files=files)))


def change_arrays(change: Callable[[dict[str, np.ndarray]], None]) -> Callable[[Path], None]:
    def rewritten(path: Path) -> None:
        arrays = safetensors.load_file(path)
        change(arrays)
        safetensors.save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)

    return rewritten


def test_what_was_published_is_opened_the_same(any_store: ArtifactStore) -> None:
    """A snapshot read back from any kind of store has the same arrays and gives the same list."""
    snapshot, _ = made_snapshot()
    manifest = publish_made(any_store, parent="20261123T110000Z-0000")
    opened = any_store.open(manifest.id, any_store.manifest_sha256(manifest.id))
    assert any_store.list() == [manifest.id] and any_store.verify(manifest.id) == []
    assert (opened.artifact_id, opened.parent, opened.seed) == (manifest.id, "20261123T110000Z-0000", 7)
    assert opened.vocabulary == snapshot.vocabulary and opened.event_types == snapshot.event_types
    for part in ("encoder", "tower", "sessions", "covisitation", "trending", "ranker"):
        before, after = getattr(snapshot, part).arrays(), getattr(opened, part).arrays()
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[name], after[name]) for name in before)
    np.testing.assert_array_equal(opened.item_vectors, snapshot.item_vectors)
    np.testing.assert_array_equal(opened.counts, snapshot.counts)
    histories = snapshot.histories([clicked("i1", "i5"), clicked("i2")])
    np.testing.assert_array_equal(opened.rank(histories).rows(), snapshot.rank(histories).rows())


def test_the_same_snapshot_gives_the_same_artifact(tmp_path: Path) -> None:
    """Two builds of one snapshot are equal, byte for byte, and so are their ids."""
    snapshot, catalogue = made_snapshot()
    built = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_snapshot(snapshot, catalogue, tmp_path / name)
        built.append(seal(tmp_path / name, drafted(snapshot), NOON))
    assert built[0] == built[1]
    assert built[0].id.startswith("20261123T120000Z-")
    other, _ = made_snapshot(seed=2)
    write_snapshot(other, catalogue, tmp_path / "a")
    assert seal(tmp_path / "a", drafted(other), NOON).id != built[0].id


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
    ("name", "array"), [("encoder.safetensors", "item_vectors"), ("memory.safetensors", "trending.counts")]
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
    from indexing.candidates import FEATURES

    manifest = publish_made(store)
    before = store.open(manifest.id).ranker
    order = [*reversed(range(1, len(FEATURES)))]  # the first feature did not exist then

    def shuffle(arrays: dict[str, np.ndarray]) -> None:
        for array in ("mean", "scale", "linear"):
            arrays[array] = arrays[array][order]
        arrays["inner"] = arrays["inner"][:, order]

    def rename(path: Path) -> None:
        features = json.loads(path.read_bytes())
        features["ranker"] = [FEATURES[place] for place in order]
        path.write_text(json.dumps(features))

    rewrite(store, manifest, "ranker.safetensors", change_arrays(shuffle))
    rewrite(store, store.manifest(manifest.id), "features.json", rename)
    after = store.open(manifest.id).ranker
    rows = np.random.default_rng(3).normal(size=(50, len(FEATURES))).astype(np.float32)
    without_first = rows.copy()
    without_first[:, 0] = 0.0
    np.testing.assert_allclose(after.score(rows), before.score(without_first), atol=1e-5)


def test_a_remote_artifact_is_hashed_each_time_and_mended(tmp_path: Path) -> None:
    """A damaged copy in the cache is fetched anew; what is damaged in the store does not verify, whatever is cached."""
    store = ArtifactStore(f"memory://{uuid.uuid4().hex}", tmp_path)
    manifest = publish_made(store)
    store.open(manifest.id)
    copy = tmp_path / manifest.id / "ranker.safetensors"
    copy.write_bytes(b"x" * copy.stat().st_size)
    store.open(manifest.id)
    copy.unlink()
    store.open(manifest.id)
    remote = store._at(manifest.id, "index.faiss")
    store._files.pipe_file(remote, b"y" * manifest.files["index.faiss"].size)
    store.open(manifest.id)  # the copy is good
    assert "index.faiss has SHA-256" in store.verify(manifest.id)[0]
    store._files.pipe_file(remote, b"much too long" * 10_000)
    assert "index.faiss has 130000 bytes" in store.verify(manifest.id)[0]
    assert [left.name for left in tmp_path.iterdir() if left.name.startswith(BUILDING)] == []


def test_an_upload_that_broke_off_is_not_there(tmp_path: Path) -> None:
    """Remote artifacts exist from the moment their manifest does, which comes last."""
    store = ArtifactStore(f"memory://{uuid.uuid4().hex}", tmp_path)
    manifest = publish_made(store)
    store._files.rm(store._at(manifest.id, MANIFEST))
    assert store.list() == []
    assert "manifest.json" in store.verify(manifest.id)[0]


def test_a_published_artifact_never_changes(store: ArtifactStore) -> None:
    """Publishing the same id again is refused and leaves what stands."""
    manifest = publish_made(store)
    with pytest.raises(ArtifactError, match="exists"):
        publish_made(store)
    assert store.verify(manifest.id) == []


def test_what_a_killed_process_left_is_cleaned_and_what_is_built_now_is_not(store: ArtifactStore) -> None:
    """`clean` removes a directory that nobody holds, and leaves alone the one that is being built."""
    publish_made(store)
    left = Path(store.url.removeprefix("file://")) / f"{BUILDING}dead"
    left.mkdir()
    (left / "index.faiss").write_bytes(b"half")
    with store.building() as directory:
        assert store.clean() == [left.name]
        assert directory.is_dir()
    assert len(store.list()) == 1 and not directory.exists() and not left.exists()


def test_a_store_of_an_unknown_kind_is_named() -> None:
    """A URL that this installation has no file system for ends with an error that names the setting."""
    with pytest.raises(ArtifactError, match=r"artifacts\.url = 'nowhere://x'"):
        ArtifactStore("nowhere://x", "cache")


def test_only_one_trainer_holds_the_store(store: ArtifactStore) -> None:
    """A second lock on the same store is refused with what to do, and free again after the first one's end."""
    other = ArtifactStore(store.url, "elsewhere")
    with store.trainer_lock(), pytest.raises(StoreInUseError, match="stop it"), other.trainer_lock():
        pass
    with other.trainer_lock():
        pass


def test_collecting_keeps_the_newest_the_announced_and_their_parents(store: ArtifactStore) -> None:
    """Of five artifacts two newest are kept, and an announced old one with its parent; the fifth goes."""
    ids: list[str] = []
    for number in range(5):
        parent = ids[-1] if ids else None
        ids.append(publish_made(store, created=NOON + number * HOUR, seed=number + 1, parent=parent).id)
    assert store.list() == ids[::-1]
    assert store.collect(2, {ids[1]}) == [ids[2]]
    assert store.list() == [ids[4], ids[3], ids[1], ids[0]]
    assert store.collect(1, set()) == [ids[3], ids[1], ids[0]]


def test_the_newest_valid_artifact_is_found(store: ArtifactStore) -> None:
    """A damaged newest artifact is passed over and named."""
    old = publish_made(store, created=NOON)
    new = publish_made(store, created=NOON + HOUR, seed=2)
    (place_of(store, new.id) / "index.faiss").write_bytes(b"")
    found, problems = store.newest_valid()
    assert found == old.id
    assert store.newest_valid(besides=old.id)[0] is None
    assert len(problems) == 1 and new.id in problems[0]


def test_ids_are_sorted_by_time_even_when_the_clock_goes_back() -> None:
    """An id names its moment; where the clock has gone back, the next second is taken."""
    files = {"index.faiss": FileEntry(1, "ab" * 32)}
    first = artifact_id(NOON, files)
    assert is_artifact_id(first)
    assert artifact_id(created_after(NOON - HOUR, first), files).startswith("20261123T120001Z-")
    assert artifact_id(created_after(NOON + HOUR, first), files).startswith("20261123T130000Z-")
    assert sha256_of(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # FIPS 180-4
