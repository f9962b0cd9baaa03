"""The changes to Faust's behaviour: pinned to the source they were written against, and what each does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.cluster import ClusterMetadata

from stream.settings import Settings
from stream.worker import faust_fixes
from stream.worker.app import build_app
from stream.worker.faust_fixes import PATCHED, UnknownFaustError, check_version, source_digest


@pytest.mark.parametrize("function", PATCHED, ids=lambda function: str(function.__qualname__))
def test_upstream_has_not_changed_what_is_overridden(function: Callable[..., Any]) -> None:
    """Another digest means that upstream changed: read its change, run tests/crash, then pin the new one."""
    assert source_digest(function) == PATCHED[function]


def test_another_faust_is_refused_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An untested release ends the worker with what to do, and runs where the setting says so."""
    check_version(allow_other=False)
    monkeypatch.setattr(faust_fixes, "version", lambda _name: "0.16.0")
    with pytest.raises(UnknownFaustError, match=r"0\.16\.0 is installed.*worker\.allow_other_faust"):
        check_version(allow_other=False)
    check_version(allow_other=True)


def test_partitions_are_shared_by_a_leader_that_has_heard_of_no_topic() -> None:
    """A client that has just connected knows no topic: two members get all partitions of each all the same."""
    settings = Settings()
    app = build_app(settings, "http://here")
    topics = {"alluvium.events", "alluvium.requests"}
    members = {name: app.assignor.metadata(topics) for name in ("one", "other")}
    shared = app.assignor.assign(ClusterMetadata(), members)
    for topic in topics:
        found = [
            number for one in shared.values() for name, numbers in one.assignment if name == topic for number in numbers
        ]
        assert sorted(found) == [*range(settings.kafka.partitions)]
