"""The smallest bench: a real broker, the real worker and one contender on a few hundred events."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.kafka
def test_contenders_answer_every_event(tmp_path: Path) -> None:
    """Both do the whole job; results are one JSON document, and nothing is said of how fast it must be."""
    command = "bench --what transport --contenders aiokafka,alluvium --rounds 1 --events 400 --json"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ALLUVIUM_")}
    done = subprocess.run(
        [sys.executable, "-m", "stream.cli", *command.split()],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["problems"] == []
    result = report["results"]["transport"]
    for name in ("aiokafka", "alluvium"):
        (outcome,) = result["outcomes"][name]
        checked = outcome["checked"]
        assert checked["events"] > 0
        assert [checked[key] for key in ("lost", "repeated", "strange", "letters_lost")] == [0, 0, 0, 0], checked
        assert outcome["rate"]["per_second"] > 0
    assert result["outcomes"]["alluvium"][0]["stages"]["decode"] > 0
