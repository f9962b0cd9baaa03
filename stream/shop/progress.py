"""How far a replay of a file into a cluster's topic has come, so that a stopped one goes on."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

FOLDER = Path(".alluvium/replay")


class Progress(msgspec.Struct):
    """`acknowledged` events, in the replay's order, stand in the topic; later ones were sent at `since_ms` or after."""

    file: str
    bytes: int
    topic: str
    cluster: str
    reading: str  # data set or columns, and the order: what makes two replays of one file the same
    acknowledged: int = 0
    since_ms: int = 0  # epoch ms; 0: nothing was sent
    shift_ms: int = 0
    complete: bool = False


def progress_file(progress: Progress, folder: Path = FOLDER) -> Path:
    """Where the progress of this file, read in this way, into this topic of this cluster is kept."""
    key = "\0".join((progress.file, progress.topic, progress.cluster, progress.reading))
    stem = Path(progress.file).name.split(".", 1)[0]
    return folder / f"{stem}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"


def load(path: Path, begun: Progress) -> Progress:
    """The progress made so far, `begun` when there is none. Raises ValueError when the file has changed since."""
    if not path.exists():
        return begun
    found = msgspec.json.decode(path.read_bytes(), type=Progress)
    if found.bytes != begun.bytes:
        raise ValueError(f"{begun.file} has changed since its replay began: use --restart to begin anew")
    return found


def save(path: Path, progress: Progress) -> None:
    """Replaces the file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(progress))
    partial.replace(path)
