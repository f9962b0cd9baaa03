"""Child processes: never left behind; and what the broker needs is asked for in words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stream.shop.children import end, spawn
from stream.shop.kafka_jars import BrokerError, java_command, java_version, kafka_jars

PARENT = """
import sys, time
from pathlib import Path
from stream.shop.children import spawn
print(spawn([sys.executable, "-c", "import time; time.sleep(120)"], Path(sys.argv[1])).pid, flush=True)
time.sleep(120)
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(120)"


def gone(pid: int, patience_seconds: float = 20.0) -> bool:
    """Whether a process ends within the patience; one that nobody waits for may stay as a zombie."""
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    """SIGKILL leaves a parent no time to end its children; the kernel does."""
    command = [sys.executable, "-c", PARENT, str(tmp_path / "log")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    assert gone(child)


def test_a_deaf_child_is_ended_by_force(tmp_path: Path) -> None:
    """A child that ignores SIGTERM gets SIGKILL after the patience; `end` says so by its status."""
    log = tmp_path / "log"
    child = spawn([sys.executable, "-c", DEAF], log)
    while not log.exists() or "deaf" not in log.read_text():
        time.sleep(0.02)
    assert end(child, patience_seconds=0.2) == -signal.SIGKILL


def test_a_paused_child_hears_the_end(tmp_path: Path) -> None:
    """SIGTERM reaches a stopped process too."""
    child = spawn([sys.executable, "-c", "import time; time.sleep(120)"], tmp_path / "log")
    os.kill(child.pid, signal.SIGSTOP)
    assert end(child, patience_seconds=20) == -signal.SIGTERM


def test_java_versions_of_all_ages() -> None:
    """Java 8 called itself 1.8; builds before a release have no point."""
    assert java_version('openjdk version "17.0.15" 2025-04-15') == 17
    assert java_version('java version "1.8.0_292"') == 8
    assert java_version('openjdk version "25-ea" 2025-09-16') == 25
    assert java_version("command not found") is None


def test_missing_tools_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Java or Maven the message says what to install; an old Java is named with its version."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerError, match="Java 17"):
        java_command()
    with pytest.raises(BrokerError, match="Maven"):
        kafka_jars(tmp_path / "cache")
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    with pytest.raises(BrokerError, match="is Java 11"):
        java_command()


def test_jars_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maven runs for the first caller alone, and a Maven that fails leaves nothing that looks like jars."""
    maven, calls = tmp_path / "mvn", tmp_path / "calls"
    script = """#!/bin/sh
echo call >> {calls}
for argument in "$@"; do
  case $argument in -DoutputDirectory=*) mkdir -p ${{argument#*=}};; esac
done
exit {status}
"""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    maven.write_text(script.format(calls=calls, status=1))
    maven.chmod(0o755)
    with pytest.raises(BrokerError, match="exit status 1"):
        kafka_jars(tmp_path / "cache")
    maven.write_text(script.format(calls=calls, status=0))
    assert kafka_jars(tmp_path / "cache") == kafka_jars(tmp_path / "cache")
    assert calls.read_text().count("call") == 2
