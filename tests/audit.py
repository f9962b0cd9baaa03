"""What pip-audit found out, as one verdict: `python -m tests.audit REPORT`. What could not be looked up is not well."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def verdict(report: Path) -> tuple[bool, list[str]]:
    """Whether every dependency of a JSON report was looked up and has no known vulnerability; and lines that say so."""
    try:
        dependencies = json.loads(report.read_text("utf-8"))["dependencies"]
    except (OSError, ValueError, KeyError):
        return False, ["nothing was audited: pip-audit wrote no report, its last lines say why"]
    lines = [
        f"{found['name']} {found['version']}: {vulnerability['id']}, mended in {_any(vulnerability['fix_versions'])}"
        for found in dependencies
        for vulnerability in found.get("vulns", ())
    ]
    unknown = [found["name"] for found in dependencies if "skip_reason" in found]
    known = len(dependencies) - len(unknown)
    if unknown:
        lines.append(f"advisories could not be had for {len(unknown)}: {', '.join(unknown)}")
        lines.append('nothing is known of these; another service may answer: make audit ARGS="-s osv"')
    lines.append(f"{known} of {len(dependencies)} dependencies looked up")
    return len(lines) == 1 and known > 0, lines


def _any(versions: list[str]) -> str:
    return " or ".join(versions) or "no version yet"


if __name__ == "__main__":
    is_well, said = verdict(Path(sys.argv[1]))
    print("\n".join(said))  # noqa: T201
    sys.exit(not is_well)
