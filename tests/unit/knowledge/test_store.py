"""The artifact store: what goes in comes out, what was tampered with does not, and nothing half is ever seen."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest

from stream.knowledge import files
from stream.knowledge.directories import BUILDING, StoreInUseError
from stream.knowledge.files import write_snapshot
from stream.knowledge.manifest import (
    MANIFEST,
    ArtifactError,
    FileEntry,
    artifact_id,
    created_after,
    is_artifact_id,
    sha256_of,
)
from stream.knowledge.sealing import seal
from stream.knowledge.store import ArtifactStore
from tests.artifacts import HOUR, NOON, drafted, made_snapshot, publish_made
from tests.worlds import clicked


@pytest.fixture(params=["path", "file://", "memory://"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    urls = {
        "path": str(tmp_path / "artifacts"),
        "file://": f"file://{tmp_path}/artifacts",
        "memory://": f"memory://{uuid.uuid4().hex}/artifacts",
    }
    return ArtifactStore(urls[request.param], tmp_path / "cache")


def test_what_was_published_is_opened_the_same(any_store: ArtifactStore) -> None:
    """A snapshot read back from any kind of store has the same arrays and gives the same list."""
    snapshot, _ = made_snapshot()
    manifest = publish_made(any_store, parent="20261123T110000Z-0000")
    opened = any_store.open(manifest.id, any_store.manifest_sha256(manifest.id))
    assert any_store.list() == [manifest.id] and any_store.verify(manifest.id) == []
    assert (opened.artifact_id, opened.parent, opened.seed) == (manifest.id, "20261123T110000Z-0000", 7)
    assert opened.vocabulary == snapshot.vocabulary and opened.event_types == snapshot.event_types
    assert tuple(opened.memories) == tuple(snapshot.memories)
    parts = [(getattr(snapshot, part), getattr(opened, part)) for part in ("encoder", "tower", "trending", "ranker")]
    for written, read in [*parts, *((built, opened.memories[name]) for name, built in snapshot.memories.items())]:
        before, after = written.arrays(), read.arrays()
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[name], after[name]) for name in before)
    np.testing.assert_array_equal(opened.item_vectors, snapshot.item_vectors)
    np.testing.assert_array_equal(opened.counts, snapshot.counts)
    np.testing.assert_array_equal(opened.repurchase, snapshot.repurchase)
    histories = snapshot.histories([clicked("i1", "i5"), clicked("i2")])
    np.testing.assert_array_equal(opened.rank(histories).rows(), snapshot.rank(histories).rows())


def test_large_arrays_are_handled_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few items and a few numbers at a time: the same artifact, and the same arrays read back."""
    store = ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")
    whole = publish_made(store)
    monkeypatch.setattr(files, "AT_ONCE", 7)
    monkeypatch.setattr(files, "COPIED", 100)
    in_parts = publish_made(ArtifactStore(str(tmp_path / "others"), tmp_path / "cache"))
    assert in_parts.id == whole.id
    snapshot, opened = made_snapshot()[0], store.open(whole.id)
    assert opened.vocabulary == snapshot.vocabulary
    for before, after in (
        (snapshot.tower.arrays(), opened.tower.arrays()),
        (snapshot.encoder.arrays(), opened.encoder.arrays()),
    ):
        assert all(np.array_equal(before[name], after[name]) for name in before)


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


def test_ids_are_sorted_by_time_even_when_the_clock_goes_back() -> None:
    """An id names its moment; where the clock has gone back, the next second is taken."""
    files = {"index.faiss": FileEntry(1, "ab" * 32)}
    first = artifact_id(NOON, files)
    assert is_artifact_id(first)
    assert artifact_id(created_after(NOON - HOUR, first), files).startswith("20261123T120001Z-")
    assert artifact_id(created_after(NOON + HOUR, first), files).startswith("20261123T130000Z-")
    assert sha256_of(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # FIPS 180-4
