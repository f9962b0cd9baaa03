"""What stands in for an announced artifact that cannot be used."""

from __future__ import annotations

from collections.abc import Iterator

from stream.knowledge.manifest import ArtifactError
from stream.knowledge.store import ArtifactStore


def fallback(store: ArtifactStore, announced: str | None, parent: str | None) -> tuple[str | None, list[str]]:
    """The nearest ancestor of the announced artifact that is valid, and where there is none the newest valid artifact.

    Its ancestors have served before it; what is newer than they may have been rolled back. Also returns what is wrong
    with those that were passed over. Raises OSError where the store cannot be reached.
    """
    problems: list[str] = []
    seen = {announced}
    for artifact in _candidates(store, parent):
        if artifact not in seen:
            seen.add(artifact)
            found = store.verify(artifact)
            if not found:
                return artifact, problems
            problems += found
    return None, problems


def _candidates(store: ArtifactStore, parent: str | None) -> Iterator[str]:
    ancestors: set[str] = set()
    while parent is not None and parent not in ancestors:
        ancestors.add(parent)
        yield parent
        try:
            parent = store.manifest(parent).parent
        except ArtifactError:
            break
    yield from store.list()
