"""The real Prometheus for tests: on the PATH, or where deploy/prometheus/fetch.sh unpacked it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UNPACKED = ROOT / ".cache/prometheus/usr/bin"


def tool(name: str) -> str:
    """The path of `prometheus` or `promtool`; a test that needs one fails without it, it is never passed over."""
    found = shutil.which(name) or shutil.which(name, path=str(UNPACKED))
    if found is None:
        pytest.fail(f"{name} is missing: run deploy/prometheus/fetch.sh, as `make test` does", pytrace=False)
    return found


def promtool(*arguments: str, given: bytes = b"") -> str:
    """Runs promtool and returns what it says; fails the test with that where promtool is not content."""
    done = subprocess.run(
        [tool("promtool"), *arguments], input=given, capture_output=True, cwd=ROOT, timeout=120, check=False
    )
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said
