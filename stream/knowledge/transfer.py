"""Artifacts out of and into a store, as a tar file or a directory."""

from __future__ import annotations

import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from stream.knowledge.manifest import FILES, LARGEST_MANIFEST, MANIFEST, ArtifactError, decode_manifest, named_in
from stream.knowledge.store import ArtifactStore

TAR_MODES = {".tar": "w", ".tgz": "w:gz", ".gz": "w:gz"}


def export_artifact(store: ArtifactStore, artifact: str, target: Path) -> Path:
    """Writes an artifact to a tar file (`.tar`, `.tar.gz`, `.tgz`) or, for any other name, to a new directory.

    Returns what was written. Raises ArtifactError for a damaged artifact, FileExistsError where the target exists.
    """
    directory, _ = store.fetch(artifact)
    if target.exists():
        raise FileExistsError(f"{target} exists")
    mode = TAR_MODES.get(target.suffix)
    partial = target.with_name(target.name + ".partial")
    if mode is None:
        shutil.copytree(directory, partial)
    else:
        with tarfile.open(partial, mode) as archive:  # type: ignore[call-overload]  # one of tarfile's own modes
            for name in (MANIFEST, *FILES):
                archive.add(directory / name, f"{artifact}/{name}", recursive=False)
    partial.rename(target)
    return target


def import_artifact(store: ArtifactStore, source: Path) -> str:
    """Publishes what `export_artifact` wrote; returns its id. Nothing is announced.

    Raises ArtifactError where it is damaged, hostile or there already.
    """
    with store.building() as directory:
        if source.is_dir():
            _copy(source, directory)
        else:
            _unpack(source, directory)
        artifact = named_in((directory / MANIFEST).read_bytes())
        store.publish(directory)
    problems = store.verify(artifact)
    if problems:
        store.delete(artifact)
        raise ArtifactError(f"artifact {artifact} was not imported: {'; '.join(problems)}")
    return artifact


def _copy(source: Path, directory: Path) -> None:
    for name in (MANIFEST, *FILES):
        if (source / name).is_symlink() or not (source / name).is_file():
            raise ArtifactError(f"{source / name} is missing or no plain file")
        shutil.copyfile(source / name, directory / name)


def _unpack(source: Path, directory: Path) -> None:
    """Takes the files of the contract from a tar file, each as large as the manifest, which comes first, says."""
    try:
        with tarfile.open(source) as archive:
            first = archive.next()
            if first is None or PurePosixPath(first.name).name != MANIFEST or first.size > LARGEST_MANIFEST:
                raise ArtifactError(f"{source}: the first file of an exported artifact is {MANIFEST}")
            content = _content(archive, first).read()
            manifest = decode_manifest(content, named_in(content))
            (directory / MANIFEST).write_bytes(content)
            while (member := archive.next()) is not None:
                name = PurePosixPath(member.name).name
                if name not in FILES or member.size != manifest.files[name].size:
                    raise ArtifactError(f"{source}: {member.name[:200]!r} does not belong to artifact {manifest.id}")
                with (directory / name).open("xb") as file:
                    shutil.copyfileobj(_content(archive, member), file)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ArtifactError(f"{source} is not a readable tar file: {error}") from None


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(member) if member.isreg() else None
    if content is None:
        raise ArtifactError(f"{member.name[:200]!r} is no plain file")
    return content
