"""The demo, run as a person would with its output piped: real Kafka, worker, trainer and shop."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_every_promise_holds(tmp_path: Path) -> None:
    """Two artifacts serve; each event has its list, bad messages are dead letters, and the exit code is 0."""
    command = [sys.executable, "-m", "stream.cli", "demo", "--until-artifacts", "2", "--refresh-seconds", "8", "--json"]
    done = subprocess.run([*command, "--directory", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    summary = json.loads(done.stdout)
    assert all(check["held"] for check in summary["checks"])
    assert sum(summary["dead_letters"].values()) == 8
    assert summary["hit_rate"] > summary["popular_hit_rate"]
    assert len(summary["artifacts"]) >= 2
    assert "hit rate@20" in done.stderr
