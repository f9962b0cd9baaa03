"""Whether a snapshot that was just read can answer: one list, looked at."""

from __future__ import annotations

import math

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.manifest import ArtifactError
from stream.knowledge.serving import LivePopularity, Query, Serving
from stream.knowledge.snapshot import Snapshot

HISTORY = 3  # items of the history that is asked with


def probe(snapshot: Snapshot) -> None:
    """Asks for one list after the best-known items. Raises ArtifactError unless it holds different, known items."""
    known = snapshot.vocabulary.ids
    if not known:
        return
    popular = [known[row] for row in snapshot.trending.top(HISTORY)] or known[:HISTORY]
    times = [60_000 * step for step in range(len(popular))]
    query = Query(items=popular, types=[snapshot.event_types[0]] * len(popular), times=times, now=times[-1], count=10)
    try:
        answer = Serving(snapshot, Catalogue(), LivePopularity()).recommend([query])[0]
    except Exception as error:  # the boundary to a bad artifact: whatever it makes fail, it is not used
        raise ArtifactError(
            f"artifact {snapshot.artifact_id} cannot answer: {type(error).__name__}: {error}"
        ) from error
    problems = {
        "is empty": not answer.item_ids,
        "holds an item twice": len(set(answer.item_ids)) != len(answer.item_ids),
        "holds an item that it does not know": not set(answer.item_ids) <= set(known),
        "has a score that is not finite": not all(math.isfinite(score) for score in answer.scores),
    }
    for problem, found in problems.items():
        if found:
            raise ArtifactError(f"artifact {snapshot.artifact_id}: the list that it gives {problem}")
