"""Where artifacts settle: immutable directories `<url>/<id>/` on a local path or any fsspec file system.

Locally an artifact appears by one rename after everything is on disk. A remote one is uploaded with its manifest last,
and an artifact without a manifest does not exist. Remote artifacts are used through copies in a local cache, hashed
each time.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from stream.failpoints import failpoint
from stream.knowledge.directories import BUILDING, LOCK, StoreInUseError, appear, clear, locked, vanish
from stream.knowledge.files import read_snapshot
from stream.knowledge.manifest import (
    FILES,
    LARGEST_MANIFEST,
    MANIFEST,
    ArtifactError,
    Manifest,
    decode_manifest,
    file_problems,
    is_artifact_id,
    named_in,
    sha256_of,
)
from stream.knowledge.probe import probe
from stream.knowledge.room import memory_left
from stream.knowledge.snapshot import Snapshot

LATEST = "latest"

Names = list[str]  # inside the class `list` is the method


class ArtifactStore:
    """Artifacts under `url`. Raises ArtifactError for a kind of store that this installation lacks.

    `cache_dir` holds copies of remote ones and what is being built for a remote store.
    """

    def __init__(self, url: str, cache_dir: str | Path) -> None:
        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ArtifactError(f"artifacts.url = {url!r} names a store that cannot be used here: {error}") from None
        self.is_local = isinstance(self._files, LocalFileSystem)
        self._root = str(Path(root).absolute()) if self.is_local else root.rstrip("/")
        self.url = f"file://{self._root}" if self.is_local else str(self._files.unstrip_protocol(self._root))
        self._workplace = Path(self._root) if self.is_local else Path(cache_dir).absolute()

    def list(self) -> Names:
        """The ids of all whole artifacts, newest first. Raises OSError where the store cannot be reached."""
        self._files.invalidate_cache()
        try:
            entries = self._files.ls(self._root, detail=True)
        except FileNotFoundError:
            return []
        names = {str(entry["name"]).rstrip("/").rpartition("/")[2] for entry in entries if entry["type"] == "directory"}
        found = (name for name in names if is_artifact_id(name) and self._files.exists(self._at(name, MANIFEST)))
        return sorted(found, reverse=True)

    def resolve(self, name: str) -> str:
        """The id for an id or `latest`. Raises ArtifactError where there is none."""
        if name != LATEST:
            return self._checked(name)
        artifacts = self.list()
        if not artifacts:
            raise ArtifactError(f"there is no artifact in {self.url}: run `alluvium trainer`")
        return artifacts[0]

    def place(self, artifact: str) -> str:
        """The URL of one artifact, for people: a reader opens it by its id in its own store."""
        return f"{self.url}/{artifact}"

    def manifest(self, artifact: str, manifest_sha256: str | None = None) -> Manifest:
        """An artifact's manifest, checked. Raises ArtifactError, also where it is not the one that was announced."""
        return self._checked_manifest(artifact, manifest_sha256)[1]

    def manifest_sha256(self, artifact: str) -> str:
        """What an announcement pins: the SHA-256 of `manifest.json`, which holds those of all other files."""
        return sha256_of(self._manifest_bytes(self._checked(artifact), None))

    @contextlib.contextmanager
    def building(self) -> Iterator[Path]:
        """An empty directory to build one artifact in; gone at the end unless `publish` has moved it.

        It is locked while it is in use, so `clean` can tell what a killed process has left behind.
        """
        self._workplace.mkdir(parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(prefix=BUILDING, dir=self._workplace))
        with locked(directory):
            try:
                yield directory
            finally:
                shutil.rmtree(directory, ignore_errors=True)

    def publish(self, built: Path) -> str:
        """Makes what stands whole in a directory of `building` visible under its id; returns the manifest's SHA-256.

        Raises ArtifactError where files and manifest do not agree or the id exists, OSError where it cannot be written.
        """
        content = (built / MANIFEST).read_bytes()
        artifact = named_in(content)
        manifest = decode_manifest(content, artifact)
        problems = file_problems(built, manifest)
        if problems:
            raise ArtifactError(f"artifact {artifact} was not published: {'; '.join(problems)}")
        if self._files.exists(self._at(artifact, MANIFEST)):
            raise ArtifactError(f"artifact {artifact} exists in {self.url}: artifacts never change")
        if self.is_local:
            appear(built, self._workplace / artifact)
        else:
            self._upload(built, artifact)
        return sha256_of(content)

    def open(self, artifact: str, manifest_sha256: str | None = None) -> Snapshot:
        """The snapshot of an artifact, every file hashed and every array checked.

        Raises ArtifactError where it is damaged, finds no room in memory or is not the one with this `manifest_sha256`,
        OSError where the store cannot be reached.
        """
        directory, manifest = self.fetch(artifact, manifest_sha256)
        failpoint("load.hashed")
        snapshot = read_snapshot(directory, manifest, memory_left())
        failpoint("load.read")
        return snapshot

    def fetch(self, artifact: str, manifest_sha256: str | None = None) -> tuple[Path, Manifest]:
        """A local directory with the artifact's files, hashed just now, and its manifest. Raises as `open` does."""
        content, manifest = self._checked_manifest(artifact, manifest_sha256)
        directory = self._workplace / artifact
        if self.is_local:
            _refuse(artifact, file_problems(directory, manifest))
        elif not directory.is_dir() or file_problems(directory, manifest):
            with self.building() as partial:
                self._download(manifest, content, partial)
                shutil.rmtree(directory, ignore_errors=True)
                partial.rename(directory)
        return directory, manifest

    def verify(self, artifact: str, manifest_sha256: str | None = None) -> Names:
        """What is wrong with an artifact, read back as a worker would and asked for a list; empty when it is good.

        A remote one is read from its store even if the cache holds a copy. Raises OSError where the store is away.
        """
        try:
            content, manifest = self._checked_manifest(artifact, manifest_sha256)
            if self.is_local:
                _refuse(artifact, file_problems(self._workplace / artifact, manifest))
                probe(read_snapshot(self._workplace / artifact, manifest))
            else:
                with self.building() as copy:
                    self._download(manifest, content, copy)
                    probe(read_snapshot(copy, manifest))
            return self._strangers(artifact)
        except FileNotFoundError as error:
            return [f"artifact {artifact} has gone while it was read: {error}"]
        except ArtifactError as error:
            return [str(error)]

    def delete(self, artifact: str) -> None:
        """Removes an artifact; it is gone at once, never half."""
        place = self._at(self._checked(artifact))
        if self.is_local:
            vanish(Path(place))
        else:
            self._files.rm(self._at(artifact, MANIFEST))
            failpoint("collect.delete")
            self._files.rm(place, recursive=True)
            shutil.rmtree(self._workplace / artifact, ignore_errors=True)

    def collect(self, keep: int, announced: Collection[str]) -> Names:
        """Deletes all but the newest `keep`, the announced ones and their parents; returns what was deleted."""
        artifacts = self.list()
        kept = set(artifacts[:keep]) | set(announced)
        for artifact in announced:
            with contextlib.suppress(ArtifactError):
                kept.add(self.manifest(artifact).parent or artifact)
        deleted = [artifact for artifact in artifacts if artifact not in kept]
        for artifact in deleted:
            self.delete(artifact)
        return deleted

    def clean(self) -> Names:
        """Removes what killed processes have left half built or half deleted; returns the names."""
        return clear(self._workplace)

    @contextlib.contextmanager
    def trainer_lock(self) -> Iterator[None]:
        """Held by the one trainer of this store. Raises StoreInUseError.

        For a remote store it holds only among trainers that share the cache directory.
        """
        self._workplace.mkdir(parents=True, exist_ok=True)
        lock = self._workplace / LOCK
        lock.touch()
        try:
            with locked(lock):
                yield
        except StoreInUseError:
            raise StoreInUseError(
                f"another trainer holds {lock}: only one may publish to {self.url}; stop it or change artifacts.url"
            ) from None

    def _upload(self, built: Path, artifact: str) -> None:
        self._files.makedirs(self._at(artifact), exist_ok=True)
        for name in (*FILES, MANIFEST):
            failpoint("publish.upload")
            self._files.put_file(str(built / name), self._at(artifact, name))

    def _download(self, manifest: Manifest, content: bytes, directory: Path) -> None:
        for name, entry in manifest.files.items():
            size = self._size(manifest.id, name)
            if size != entry.size:
                raise ArtifactError(f"artifact {manifest.id}: {name} has {size} bytes, its manifest says {entry.size}")
            self._files.get_file(self._at(manifest.id, name), str(directory / name))
        (directory / MANIFEST).write_bytes(content)
        _refuse(manifest.id, file_problems(directory, manifest))

    def _checked_manifest(self, artifact: str, manifest_sha256: str | None) -> tuple[bytes, Manifest]:
        content = self._manifest_bytes(self._checked(artifact), manifest_sha256)
        return content, decode_manifest(content, artifact)

    def _manifest_bytes(self, artifact: str, manifest_sha256: str | None) -> bytes:
        self._files.invalidate_cache()
        size = self._size(artifact, MANIFEST)
        if size > LARGEST_MANIFEST:
            raise ArtifactError(f"artifact {artifact}: {MANIFEST} has {size} bytes, more than {LARGEST_MANIFEST}")
        content = bytes(self._files.cat_file(self._at(artifact, MANIFEST)))
        if manifest_sha256 is not None and sha256_of(content) != manifest_sha256:
            raise ArtifactError(f"artifact {artifact}: {MANIFEST} is not the announced one ({manifest_sha256})")
        return content

    def _size(self, artifact: str, name: str) -> int:
        try:
            return int(self._files.info(self._at(artifact, name))["size"])
        except FileNotFoundError:
            raise ArtifactError(f"artifact {artifact}: there is no {name} in {self._at(artifact)}") from None

    def _strangers(self, artifact: str) -> Names:
        listed = self._files.ls(self._at(artifact), detail=False)
        strangers = {str(name).rstrip("/").rpartition("/")[2] for name in listed} - {MANIFEST, *FILES}
        return [f"artifact {artifact}: {name} does not belong to it" for name in sorted(strangers)]

    def _checked(self, artifact: str) -> str:
        if not is_artifact_id(artifact):
            raise ArtifactError(f"{artifact[:80]!r} is no artifact id; they look like 20261123T160000Z-3f9c")
        return artifact

    def _at(self, *names: str) -> str:
        return "/".join((self._root, *names))


def _refuse(artifact: str, problems: Names) -> None:
    if problems:
        raise ArtifactError(f"artifact {artifact}: {'; '.join(problems)}")
