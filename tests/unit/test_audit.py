"""An audit passes only when every dependency was looked up and nothing is known against it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.audit import verdict

CLEAN = {"name": "good", "version": "1.0", "vulns": []}
SKIPPED = {"name": "hidden", "skip_reason": "Dependency not found on PyPI and could not be audited: hidden (2.0)"}
VULNERABLE = {"name": "bad", "version": "3.0", "vulns": [{"id": "PYSEC-0-1", "fix_versions": ["3.1"], "aliases": []}]}


@pytest.mark.parametrize(
    ("dependencies", "passes", "said"),
    [
        ([CLEAN], True, "1 of 1 dependencies looked up"),
        ([CLEAN, SKIPPED], False, "could not be had for 1: hidden"),
        ([CLEAN, VULNERABLE], False, "bad 3.0: PYSEC-0-1, mended in 3.1"),
        ([SKIPPED, VULNERABLE], False, "PYSEC-0-1"),
        ([], False, "0 of 0"),
    ],
)
def test_the_verdict(dependencies: list[dict[str, Any]], passes: bool, said: str, tmp_path: Path) -> None:
    """Unknown is not well, nor is a known vulnerability; each is named."""
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"dependencies": dependencies, "fixes": []}))
    is_well, lines = verdict(report)
    assert is_well is passes
    assert said in "\n".join(lines)


def test_no_report_is_no_pass(tmp_path: Path) -> None:
    """Where no service could be reached there is nothing to read."""
    assert verdict(tmp_path / "nowhere.json")[0] is False
