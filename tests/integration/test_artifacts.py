"""`alluvium artifacts` as a person types it, with a real broker for what is announced."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from stream.cli import artifacts
from stream.kafka import admin_client
from stream.knowledge.store import ArtifactStore
from stream.settings import read_settings
from stream.shop.broker import Broker
from stream.wire.topics import create_topics
from tests.artifacts import HOUR, NOON, place_of, publish_made

pytestmark = pytest.mark.kafka

Run = Callable[..., str]


@pytest.fixture
def alluvium(
    kafka_broker: Broker, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Runs `alluvium artifacts …` and returns what it printed; `code` is the exit code that is expected."""
    environment = {
        "ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS": kafka_broker.bootstrap_servers,
        "ALLUVIUM_KAFKA__TOPIC_PREFIX": topic_prefix,
        "ALLUVIUM_KAFKA__PARTITIONS": "1",
        "ALLUVIUM_ARTIFACTS__URL": str(tmp_path / "artifacts"),
        "ALLUVIUM_ARTIFACTS__KEEP": "1",
    }
    settings = read_settings(None, environment)

    async def make_topics() -> None:
        async with admin_client(settings.kafka) as admin:
            await create_topics(admin, settings.kafka, "group")

    asyncio.run(make_topics())
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    app = typer.Typer()
    artifacts.register(app)
    app.callback()(lambda: None)

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, ["artifacts", *arguments])
        assert result.exit_code == code, result.output
        return result.output if code else result.stdout

    return run


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"), tmp_path / "cache")


def test_promote_list_rollback_and_collect(alluvium: Run, store: ArtifactStore) -> None:
    """A promoted artifact serves; a rollback announces its parent; gc keeps newest, announced and parents."""
    ids: list[str] = []
    for number in range(4):
        parent = ids[-1] if ids else None
        ids.append(publish_made(store, created=NOON + number * HOUR, seed=number + 1, parent=parent).id)
    assert "nothing has been announced" in alluvium("rollback", code=1)
    assert ids[1] in alluvium("promote", ids[1], "--reason", "best on Sundays")
    listed = json.loads(alluvium("list", "--json"))
    assert [(row["id"], row["serves"], row["items"], row["events"]) for row in listed] == [
        (ids[3], "", 20, 300),
        (ids[2], "", 20, 300),
        (ids[1], "champion", 20, 300),
        (ids[0], "", 20, 300),
    ]
    announced = json.loads(alluvium("rollback", "--json"))
    assert (announced["artifact"], announced["parent"], announced["reason"]) == (ids[0], None, "rollback")
    assert announced["manifest_sha256"] == store.manifest_sha256(ids[0])
    assert "it has no parent" in alluvium("rollback", code=1)
    alluvium("promote", ids[1])
    assert json.loads(alluvium("gc", "--json")) == {"deleted": [ids[2]], "left_half_built": []}
    assert store.list() == [ids[3], ids[1], ids[0]]


def test_a_bad_artifact_is_not_announced(alluvium: Run, store: ArtifactStore) -> None:
    """`verify` and `promote` end with exit code 1 and name the damaged file; `verify --all` still says what is good."""
    good, bad = publish_made(store).id, publish_made(store, created=NOON + HOUR, seed=2).id
    (place_of(store, bad) / "ranker.safetensors").write_bytes(b"")
    assert "good" in alluvium("verify", good)
    assert "ranker.safetensors" in alluvium("verify", code=1)
    found = json.loads(alluvium("verify", "--all", "--json", code=1))
    assert found[good] == [] and len(found[bad]) == 1
    assert "not announced" in alluvium("promote", "latest", code=1)
    assert [row["serves"] for row in json.loads(alluvium("list", "--json"))] == ["", ""]


def test_show_diff_export_and_import(alluvium: Run, store: ArtifactStore, tmp_path: Path) -> None:
    """What is shown is the manifest; what is exported, deleted and imported is the same artifact again."""
    first, second = publish_made(store).id, publish_made(store, created=NOON + HOUR, seed=2).id
    assert json.loads(alluvium("show", first, "--json"))["id"] == first
    assert "20 items" in alluvium("show")
    difference = json.loads(alluvium("diff", first, "--json"))
    assert (difference["first"], difference["second"]) == (first, second)
    pinned = store.manifest_sha256(first)
    alluvium("export", first, str(tmp_path / "first.tar"))
    store.delete(first)
    assert alluvium("import", str(tmp_path / "first.tar")).strip() == first
    assert store.manifest_sha256(first) == pinned
    assert "no artifact id" in alluvium("show", "yesterday", code=1)
