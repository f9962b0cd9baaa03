"""The manifest of an artifact: what it is, what it was made from, and the hash and size of each of its files.

Every format version that was ever released keeps loading: a new one is a new entry in `READERS`, the old stay.
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
README = "README.md"
FILES = (
    "encoder.safetensors",
    "ranker.safetensors",
    "items.parquet",
    "index.faiss",
    "memory.safetensors",
    "features.json",
    README,
)
LARGEST_MANIFEST = 16 << 20  # bytes; a real one has a few thousand
LARGEST_TEXT = 16 << 20  # of a file that is read as text, whole
TEXTS = ("features.json", README)
ID_PATTERN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")
SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")


class ArtifactError(ValueError):
    """An artifact is damaged, foreign or missing.

    Operator action: run `alluvium artifacts verify --all`; promote a good one with `alluvium artifacts promote ID`,
    delete a bad one with `alluvium artifacts gc`, or upgrade when the message names a newer format version.
    """


class FileEntry(msgspec.Struct, frozen=True):
    """Size in bytes and SHA-256 (hexadecimal) of one file."""

    size: int
    sha256: str


class PartitionSpan(msgspec.Struct, frozen=True):
    """The part of one partition that is in the window: offsets [start, end), event times in ISO 8601."""

    start: int
    end: int
    first_time: str | None = None
    last_time: str | None = None


class EventWindow(msgspec.Struct, frozen=True):
    """The events that were learned from, and where the trainer goes on reading."""

    topic: str
    events: int
    partitions: dict[int, PartitionSpan]


class CataloguePosition(msgspec.Struct, frozen=True):
    """How much of the `items` topic was known: the next offset of each partition."""

    topic: str
    partitions: dict[int, int]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json` of format version 1."""

    format_version: int = FORMAT_VERSION
    id: str
    parent: str | None
    created: str  # ISO 8601
    items: int
    seed: int
    window: EventWindow
    catalogue: CataloguePosition
    settings: dict[str, Any]
    features: dict[str, Any]
    architecture: dict[str, Any]
    metrics: dict[str, Any]
    libraries: dict[str, str]
    files: dict[str, FileEntry]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files.values())


class _Version(msgspec.Struct):
    format_version: int


class _Name(msgspec.Struct):
    id: str


def _read_manifest(content: bytes) -> Manifest:
    return msgspec.json.decode(content, type=Manifest)


# The manifest is the same in both: version 2 has sources by name, intents and counted memories in the data files.
READERS: Mapping[int, Callable[[bytes], Manifest]] = {1: _read_manifest, 2: _read_manifest}


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of `manifest.json`, indented for people."""
    return msgspec.json.format(msgspec.json.encode(manifest, enc_hook=_plain), indent=1) + b"\n"


def decode_manifest(content: bytes, artifact_id: str) -> Manifest:
    """The manifest of the artifact that is stored under `artifact_id`, checked before anything in it is used.

    Raises ArtifactError: not a manifest, of a format version from the future, of another artifact, or naming files that
    are not the contract's.
    """
    where = f"artifact {artifact_id}: {MANIFEST}"
    if len(content) > LARGEST_MANIFEST:
        raise ArtifactError(f"{where} has {len(content)} bytes, more than {LARGEST_MANIFEST}")
    try:
        version = msgspec.json.decode(content, type=_Version).format_version
        reader = READERS.get(version)
        if reader is None:
            raise ArtifactError(
                f"{where} has format version {version}, this release reads {', '.join(map(str, READERS))}: "
                "upgrade alluvium here, or promote an artifact that it can read"
            )
        manifest = reader(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{where} cannot be read: {error}") from None
    problem = _problem(manifest, artifact_id)
    if problem:
        raise ArtifactError(f"{where} {problem}")
    return manifest


def named_in(content: bytes) -> str:
    """The id that the bytes of a manifest claim; nothing else of them is checked. Raises ArtifactError."""
    try:
        return msgspec.json.decode(content, type=_Name).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{MANIFEST} cannot be read: {error}") from None


def sha256_of(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def is_artifact_id(text: str) -> bool:
    """Whether a name can be an artifact's: `20261123T160000Z-3f9c`."""
    if not ID_PATTERN.fullmatch(text):
        return False
    try:
        time_of(text)
    except ValueError:
        return False
    return True


def artifact_id(created: int, files: Mapping[str, FileEntry]) -> str:
    """The id for a moment (epoch ms) and a content: sortable by time, its suffix a digest of all files but the README.

    >>> artifact_id(1795449600000, {"index.faiss": FileEntry(3, "ab" * 32)})
    '20261123T160000Z-d98b'
    """
    content = "".join(f"{name} {entry.sha256}\n" for name, entry in sorted(files.items()) if name != README)
    return f"{time_part(created)}-{sha256_of(content.encode())[:4]}"


def time_part(created: int) -> str:
    """The first part of an id for a moment in epoch milliseconds."""
    return datetime.fromtimestamp(created // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")


def time_of(artifact: str) -> int:
    """The moment in an artifact's id, epoch milliseconds."""
    moment = datetime.strptime(artifact.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1000


def created_after(now: int, artifact: str | None) -> int:
    """The moment for a new artifact's id: `now`, or a second after `artifact` where the clock has gone backwards."""
    return now if artifact is None else max(now, time_of(artifact) + 1000)


def describe_file(path: Path) -> FileEntry:
    """Size and hash of a file as it is."""
    with path.open("rb") as file:
        return FileEntry(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def file_problems(directory: Path, manifest: Manifest) -> list[str]:
    """What of an artifact's files in `directory` is not as the manifest says; a sentence each."""
    return [problem for name, entry in manifest.files.items() if (problem := _file_problem(directory / name, entry))]


def _file_problem(path: Path, entry: FileEntry) -> str | None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return f"{path.name} is missing"
    if not stat.S_ISREG(found.st_mode):
        return f"{path.name} is not a plain file"
    if found.st_size != entry.size:
        return f"{path.name} has {found.st_size} bytes, its manifest says {entry.size}"
    digest = describe_file(path).sha256
    return None if digest == entry.sha256 else f"{path.name} has SHA-256 {digest}, its manifest says {entry.sha256}"


def _problem(manifest: Manifest, artifact: str) -> str | None:
    spans, files = manifest.window.partitions, manifest.files
    odd = ", ".join(repr(name[:80]) for name in sorted(set(files) ^ set(FILES)))
    checks = {
        f"is of {manifest.id[:80]!r}": not is_artifact_id(manifest.id) or manifest.id != artifact,
        "names a parent that is no artifact id": manifest.parent is not None and not is_artifact_id(manifest.parent),
        f"must name the files {', '.join(FILES)} and no others; differs in {odd}": bool(odd),
        "has no valid size and SHA-256 for every file": any(
            entry.size < 0 or not SHA256_PATTERN.fullmatch(entry.sha256) for entry in files.values()
        ),
        f"gives one of {', '.join(TEXTS)} more than {LARGEST_TEXT} bytes": any(
            files[name].size > LARGEST_TEXT for name in TEXTS if name in files
        ),
        "has a negative count": manifest.items < 0 or manifest.window.events < 0,
        "has a window whose offsets run backwards": any(
            partition < 0 or not 0 <= span.start <= span.end for partition, span in spans.items()
        ),
    }
    return next((problem for problem, found in checks.items() if found), None)


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} does not belong into a manifest")
