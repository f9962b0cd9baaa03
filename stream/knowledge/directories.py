"""Directories that are in use, on disk, or gone: locks, syncs and steps that are never half."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from stream.failpoints import failpoint

BUILDING, DELETING, LOCK = ".building-", ".deleting-", ".trainer.lock"


class StoreInUseError(RuntimeError):
    """Another trainer holds this store. Operator action: stop one, or give it another artifacts.url."""


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a file or directory for as long as the block, or the process, lives. Raises StoreInUseError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreInUseError(f"{path} is in use") from None
        yield
    finally:
        os.close(handle)


def appear(built: Path, place: Path) -> None:
    """Gives a directory its name by one rename, once all that stands in it is on disk."""
    failpoint("publish.sync")
    for file in built.iterdir():
        file.chmod(0o644)  # some writers make private files; a worker may be another user
        _sync(file)
    built.chmod(0o755)
    _sync(built)
    failpoint("publish.rename")
    built.rename(place)
    failpoint("publish.renamed")
    _sync(place.parent)


def vanish(place: Path) -> None:
    """Removes a directory: its name is gone at once, the rest by and by."""
    condemned = place.parent / f"{DELETING}{place.name}"
    place.rename(condemned)
    failpoint("collect.delete")
    shutil.rmtree(condemned, ignore_errors=True)


def clear(workplace: Path) -> list[str]:
    """Removes what killed processes have left half built or half deleted; returns the names."""
    removed: list[str] = []
    if not workplace.is_dir():
        return removed
    for left in sorted(workplace.iterdir()):
        if left.name.startswith((BUILDING, DELETING)):
            with contextlib.suppress(StoreInUseError), locked(left):
                shutil.rmtree(left, ignore_errors=True)
                removed.append(left.name)
    return removed


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
