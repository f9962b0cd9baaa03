"""What stands in for a bad artifact: one that has served before it, and how much memory it may take."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.knowledge import store as stores
from stream.knowledge.fallback import fallback
from stream.knowledge.manifest import MANIFEST, ArtifactError
from stream.knowledge.room import memory_left
from stream.knowledge.store import ArtifactStore
from tests.artifacts import HOUR, NOON, place_of, publish_made
from tests.damage import write_manifest


@pytest.fixture
def line(store: ArtifactStore) -> list[str]:
    """Five artifacts, each the parent of the next."""
    ids: list[str] = []
    for number in range(5):
        parent = ids[-1] if ids else None
        ids.append(publish_made(store, created=NOON + number * HOUR, seed=number + 1, parent=parent).id)
    return ids


def damage(store: ArtifactStore, artifact: str, name: str = "index.faiss") -> None:
    (place_of(store, artifact) / name).write_bytes(b"")


def test_the_nearest_valid_ancestor_stands_in(store: ArtifactStore, line: list[str]) -> None:
    """After a rollback to the third, which is bad, it is the second, or the first; not the newer ones that were rolled
    back from, unless nothing else is valid.
    """
    damage(store, line[2])
    assert fallback(store, line[2], line[1]) == (line[1], [])
    damage(store, line[1])
    found, problems = fallback(store, line[2], line[1])
    assert found == line[0] and len(problems) == 1 and line[1] in problems[0]
    damage(store, line[0])
    assert fallback(store, line[2], line[1])[0] == line[4]


def test_where_the_line_is_broken_the_newest_valid_one_stands_in(store: ArtifactStore, line: list[str]) -> None:
    """An ancestor whose manifest is gone names no parent; an announced one that never existed may have none."""
    damage(store, line[4])
    damage(store, line[1], MANIFEST)
    assert fallback(store, line[2], line[1])[0] == line[3]
    assert fallback(store, "20991231T000000Z-0000", None)[0] == line[3]
    assert fallback(store, "20991231T000000Z-0000", "../../etc")[0] == line[3]
    assert fallback(store, None, None)[0] == line[3]


def test_a_hostile_line_ends(store: ArtifactStore, line: list[str]) -> None:
    """Manifests that name each other as parents are looked at once each; where none is valid there is none."""
    write_manifest(store, store.manifest(line[0]), parent=line[1])
    for artifact in line:
        damage(store, artifact)
    found, problems = fallback(store, line[2], line[1])
    assert (found, len(problems)) == (None, 4)


def test_an_artifact_that_finds_no_room_is_refused(
    store: ArtifactStore, line: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its arrays are counted before they are read: with a byte too little left it is refused, with enough it opens."""
    place = place_of(store, line[0])
    files = sum(path.stat().st_size for path in place.iterdir() if path.name not in {MANIFEST, "items.parquet"})
    monkeypatch.setattr(stores, "memory_left", lambda: files)
    with pytest.raises(ArtifactError, match=rf"bytes of memory at least, {files} are left"):
        store.open(line[0])
    monkeypatch.setattr(stores, "memory_left", lambda: 10 * files)
    assert store.open(line[0]).artifact_id == line[0]


def test_memory_is_what_the_machine_and_the_container_leave(tmp_path: Path) -> None:
    """The smaller of the two; files that can be dropped do not count as taken; nobody knows: no limit."""
    meminfo, group = tmp_path / "meminfo", tmp_path / "group"
    assert memory_left(meminfo, group) is None
    meminfo.write_text("MemTotal: 2000 kB\nMemAvailable:    1000 kB\n")
    assert memory_left(meminfo, group) == 1_024_000
    group.mkdir()
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("900\n")
    (group / "memory.stat").write_text("anon 500\ninactive_file 300\n")
    assert memory_left(meminfo, group) == 1_024_000
    (group / "memory.max").write_text("1000\n")
    assert memory_left(meminfo, group) == 400
