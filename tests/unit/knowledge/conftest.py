"""What the tests of artifacts share."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.knowledge.store import ArtifactStore


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")
