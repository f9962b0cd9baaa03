"""Artifacts as files: out of one store, into another, and nothing else gets in that way."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from stream.knowledge.comparing import compare_artifacts, similar_overlaps
from stream.knowledge.manifest import FILES, MANIFEST, ArtifactError
from stream.knowledge.store import ArtifactStore
from stream.knowledge.transfer import export_artifact, import_artifact
from tests.artifacts import HOUR, NOON, made_snapshot, place_of, publish_made


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")


@pytest.fixture
def other(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "other"), tmp_path / "cache")


@pytest.mark.parametrize("name", ["one.tar", "one.tar.gz", "one.tgz", "directory"])
def test_an_exported_artifact_is_imported_whole(
    store: ArtifactStore, other: ArtifactStore, tmp_path: Path, name: str
) -> None:
    """Every file arrives byte for byte, in each of the forms."""
    manifest = publish_made(store)
    exported = export_artifact(store, manifest.id, tmp_path / name)
    assert import_artifact(other, exported) == manifest.id
    for file in (*FILES, MANIFEST):
        assert (place_of(other, manifest.id) / file).read_bytes() == (place_of(store, manifest.id) / file).read_bytes()


def test_what_exists_is_not_overwritten(store: ArtifactStore, tmp_path: Path) -> None:
    """Neither a file by an export nor an artifact by an import."""
    manifest = publish_made(store)
    exported = export_artifact(store, manifest.id, tmp_path / "one.tar")
    with pytest.raises(FileExistsError):
        export_artifact(store, manifest.id, exported)
    with pytest.raises(ArtifactError, match="exists"):
        import_artifact(store, exported)


def repacked(source: Path, target: Path, changes: dict[str, tuple[tarfile.TarInfo, bytes]]) -> Path:
    """A copy of a tar file in which some members are replaced, and those of other names added."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            name = member.name.rpartition("/")[2]
            content = old.extractfile(member)
            assert content is not None
            info, data = changes.pop(name, (member, content.read()))
            info.size = len(data)
            new.addfile(info, io.BytesIO(data))
        for info, data in changes.values():
            info.size = len(data)
            new.addfile(info, io.BytesIO(data))
    return target


def link_to(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


def test_a_hostile_tar_file_writes_nothing_outside(store: ArtifactStore, other: ArtifactStore, tmp_path: Path) -> None:
    """Paths upwards, absolute paths, links and strangers are refused; the store gets the artifact or nothing."""
    manifest = publish_made(store)
    good = export_artifact(store, manifest.id, tmp_path / "good.tar")
    outside = tmp_path / "outside"
    attacks: dict[str, dict[str, tuple[tarfile.TarInfo, bytes]]] = {
        "up": {"evil": (tarfile.TarInfo("../../outside"), b"x")},
        "absolute": {"evil": (tarfile.TarInfo(str(outside)), b"x")},
        "link": {"README.md": (link_to("README.md", str(outside)), b"")},
        "stranger": {"setup.py": (tarfile.TarInfo("setup.py"), b"x")},
        "other size": {"README.md": (tarfile.TarInfo("README.md"), b"x" * 100_000)},
        "no manifest first": {MANIFEST: (tarfile.TarInfo("first.json"), b"{}")},
    }
    for name, changes in attacks.items():
        with pytest.raises(ArtifactError):
            import_artifact(other, repacked(good, tmp_path / f"{name}.tar", changes))
    (tmp_path / "noise.tar").write_bytes(np.random.default_rng(1).bytes(10_000))
    with pytest.raises(ArtifactError, match="not a readable tar"):
        import_artifact(other, tmp_path / "noise.tar")
    assert not outside.exists() and other.list() == []
    assert [
        left for left in Path(other.url.removeprefix("file://")).iterdir() if left.name.startswith(".building")
    ] == []


def test_a_directory_with_a_link_is_not_imported(store: ArtifactStore, other: ArtifactStore, tmp_path: Path) -> None:
    """An import copies plain files only."""
    manifest = publish_made(store)
    exported = export_artifact(store, manifest.id, tmp_path / "directory")
    (exported / "README.md").unlink()
    (exported / "README.md").symlink_to("/etc/hostname")
    with pytest.raises(ArtifactError, match="no plain file"):
        import_artifact(other, exported)


def test_an_artifact_is_like_itself_and_unlike_another(store: ArtifactStore) -> None:
    """Similar items of one snapshot overlap wholly; a comparison names the measures that differ and no others."""
    snapshot, _ = made_snapshot()
    assert similar_overlaps(snapshot, snapshot) == [1.0] * len(snapshot)
    first = publish_made(store)
    scores = {"held_out": {"candidate": {"recall@20": 0.75, "mrr@20": 0.25}}}
    second = publish_made(store, created=NOON + HOUR, seed=2, metrics=scores)
    found = compare_artifacts(store, first.id, second.id)
    assert found.metrics == {"held_out.candidate.recall@20": ("0.5000", "0.7500")}
    assert (found.items_added, found.items_removed, found.settings) == (0, 0, {})
    assert found.similar_overlap is not None and 0.0 < found.similar_overlap <= 1.0
