"""Who builds, publishes or deletes an artifact is killed at every step of it: nothing half is ever seen."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from stream.failpoints import WRITES, arm
from stream.knowledge.manifest import FILES
from stream.knowledge.store import ArtifactStore
from tests.artifacts import HOUR, NOON, publish_made

BEFORE = (*WRITES, "publish.sync", "publish.rename")


@pytest.fixture(scope="module")
def children() -> Iterator[ForkServerContext]:
    """Processes that begin with everything imported and nothing running."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.artifacts"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        yield context


def publish_the_second(url: str, cache: Path, told: str) -> None:
    arm(told)
    publish_made(ArtifactStore(url, cache), created=NOON + HOUR, seed=2)


def collect_all_but_one(url: str, cache: Path, told: str) -> None:
    arm(told)
    ArtifactStore(url, cache).collect(1, set())


class Scene:
    """A store with one artifact in it, and child processes that do something to it."""

    def __init__(self, children: ForkServerContext, url: str, cache: Path) -> None:
        self.url, self.cache, self.children = url, cache, children
        self.store = ArtifactStore(url, cache)
        self.first = publish_made(self.store).id

    def killed_while(self, work: Callable[[str, Path, str], None], told: str) -> None:
        """Runs `work` in a child, which is killed there."""
        child = self.children.Process(target=work, args=(self.url, self.cache, told))
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL

    def assert_whole(self) -> list[str]:
        """Everything that is listed can be served from; returns the list."""
        for artifact in self.store.list():
            assert self.store.verify(artifact) == []
            self.store.open(artifact)
        return self.store.list()


@pytest.fixture(params=["local", "remote"])
def scene(request: pytest.FixtureRequest, children: ForkServerContext, tmp_path: Path) -> Scene:
    """`remote` is not a path to the store, so it uploads and downloads, though the files lie on this disk."""
    place = tmp_path / "artifacts"
    place.mkdir()
    return Scene(children, str(place) if request.param == "local" else f"dir::file://{place}", tmp_path / "cache")


def test_killed_at_any_step_of_publishing(scene: Scene) -> None:
    """Killed before the rename (to a remote store: before the manifest, which is uploaded last, is there) there is the
    artifact from before and nothing else; killed after it, both. What is left is cleaned, what comes next is whole.
    """
    if scene.store.is_local:
        before, after = [f"{name}=kill" for name in BEFORE], ["publish.renamed=kill"]
    else:
        before = [f"{WRITES[0]}=kill", *(f"publish.upload=kill@{number + 1}" for number in range(len(FILES) + 1))]
        after = []
    for told in before:
        scene.killed_while(publish_the_second, told)
        assert scene.assert_whole() == [scene.first], told
        assert len(scene.store.clean()) == 1 and scene.store.clean() == []
    for told in after:
        scene.killed_while(publish_the_second, told)
        assert len(scene.assert_whole()) == 2 and scene.store.clean() == []
    made = publish_made(scene.store, created=NOON + 2 * HOUR, seed=3).id
    assert scene.assert_whole()[0] == made


def test_killed_in_the_middle_of_deleting(scene: Scene) -> None:
    """What is being deleted is gone at once, not half; the rest goes at the next cleaning or deletion."""
    second = publish_made(scene.store, created=NOON + HOUR, seed=2).id
    scene.killed_while(collect_all_but_one, "collect.delete=kill")
    assert scene.assert_whole() == [second]
    assert len(scene.store.clean()) == scene.store.is_local
