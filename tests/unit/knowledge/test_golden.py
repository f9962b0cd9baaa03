"""Artifacts of every format version that was ever released load and answer, for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.manifest import FORMAT_VERSION
from stream.knowledge.popularity import LivePopularity
from stream.knowledge.repurchase import RARE
from stream.knowledge.serving import Query, Serving
from stream.knowledge.store import ArtifactStore
from tests.golden.generate import EVENTS, GROUPS, PER_GROUP, PLACE, START

STORE = ArtifactStore(str(PLACE), Path("unused"))


def test_there_is_a_sample_of_every_format_version() -> None:
    """Each version up to the present one has its committed sample."""
    versions = {STORE.manifest(artifact).format_version for artifact in STORE.list()}
    assert versions == set(range(1, FORMAT_VERSION + 1))


@pytest.mark.parametrize("artifact", STORE.list())
def test_the_sample_answers_from_what_was_planted(artifact: str) -> None:
    """The sample verifies, and who clicks one item of a group is offered the others before all else."""
    assert STORE.verify(artifact) == []
    manifest, snapshot = STORE.manifest(artifact), STORE.open(artifact)
    assert (manifest.window.events, manifest.items, len(snapshot)) == (EVENTS, GROUPS * PER_GROUP, GROUPS * PER_GROUP)
    assert (snapshot.repurchase[:] >= RARE).all()  # the first samples know nothing of it: nothing is left out
    serving = Serving(snapshot, Catalogue(), LivePopularity())
    for group in range(GROUPS):
        first, *others = (f"i{group * PER_GROUP + number}" for number in range(PER_GROUP))
        (listed,) = serving.recommend([Query([first], ["click"], [START], START, count=PER_GROUP)])
        assert listed.fallback is None
        assert set(others) <= set(listed.item_ids)
