"""The doctor's checks that need no broker: each failing one says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.doctor import Check, check_java, check_maven, check_store, examine
from stream.settings import KafkaSettings, Settings


def program(directory: Path, name: str, script: str) -> None:
    file = directory / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.mark.parametrize(
    ("version", "status"), [("17.0.15", "ok"), ("21.0.1", "ok"), ("11.0.2", "warning"), ("1.8.0", "warning")]
)
def test_java_must_be_17_or_newer(version: str, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Java's own way of naming its version is read; an old one comes with a remedy."""
    program(tmp_path, "java", f"""echo 'openjdk version "{version}" 2025-04-15' >&2""")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    check = check_java()
    assert check.status == status
    assert ("install Java 17" in check.remedy) == (status != "ok")


def test_missing_programs_are_warnings_for_those_with_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Java and Maven are for the embedded broker only, so their absence fails nothing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [check.status for check in (check_java(), check_maven())] == ["warning", "warning"]


def test_the_store_is_tried_and_left_clean(tmp_path: Path) -> None:
    """The probe file is written, read and removed."""
    store = tmp_path / "artifacts"
    assert check_store(str(store)).status == "ok"
    assert list(store.iterdir()) == []


@pytest.mark.parametrize("url", ["/proc/artifacts", "nosuchprotocol://bucket/artifacts"])
def test_a_store_that_cannot_be_written_fails_with_a_remedy(url: str) -> None:
    """A read-only place and an unknown protocol are failures that name the setting."""
    check = check_store(url)
    assert check.status == "failed"
    assert "artifacts.url" in check.remedy


async def test_without_a_broker_only_the_broker_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Port 1 answers nobody: one failed check, which says how to start a broker, and no check that needs one."""
    monkeypatch.chdir(tmp_path)
    settings = Settings(kafka=KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    checks: list[Check] = [check async for check in examine(settings)]
    assert [check.name for check in checks if check.status == "failed"] == ["broker"]
    assert "alluvium broker" in checks[-1].remedy
    assert not {"topics", "clock"} & {check.name for check in checks}
