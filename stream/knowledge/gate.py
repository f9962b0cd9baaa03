"""The gate: a refresh that made things worse is not published."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

CONFIDENCE = (
    1.645  # standard errors: a true loss within the tolerance is called worse in one of twenty refreshes at most
)


class GateSettings(Protocol):
    """What the gate wants to know (`stream.settings.ModelSettings` has it)."""

    @property
    def tolerance(self) -> float: ...  # noqa: D102
    @property
    def index_tolerance(self) -> float: ...  # noqa: D102


class Verdict(NamedTuple):
    """Whether an artifact may be published, and, if not, every reason why."""

    passed: bool
    reasons: list[str]


def judge(report: Mapping[str, Any], settings: GateSettings) -> Verdict:
    """Judges a refresh by its report (see `stream.knowledge.learning`).

    Refused are:
    - values that are not finite, in the report or in the arrays it speaks of;
    - Recall@20 or MRR@20 on the held-out events below the parent's on the same queries by more than the tolerance and
      CONFIDENCE standard errors of the paired difference together. With few held-out queries the error is large, and
      only a clear loss is refused: ten queries can hardly prove anything, two thousand see a loss of about .02;
    - without a parent, the same against the most popular items, which everybody is served while there is no artifact
      (a tolerance below 0, by which only better ones pass, says nothing of these);
    - an index that costs more Recall@20 in the final lists than `index_tolerance` against an exact search.
    """
    reasons = [f"{name} is not finite" for name in report.get("not_finite", [])]
    reasons += [f"{name} is {value}" for name, value in _numbers(report) if not math.isfinite(value)]
    for part, whose, tolerance in (
        ("against_parent", "the parent's", settings.tolerance),
        ("against_popular", "that of the most popular items", max(settings.tolerance, 0.0)),
    ):
        for name, gap in report.get(part, {}).items():
            allowed = tolerance + CONFIDENCE * gap["standard_error"]
            if -gap["difference"] > allowed:
                reasons.append(
                    f"{name} on {report['held_out']['queries']} held-out queries is {-gap['difference']:.4f} below "
                    f"{whose}, more than {allowed:.4f} (tolerance {tolerance}, the rest is sampling error)"
                )
    cost = report.get("index", {}).get("cost", 0.0)
    if cost > settings.index_tolerance:
        reasons.append(f"the index costs {cost:.4f} of Recall@20, more than {settings.index_tolerance}")
    return Verdict(not reasons, reasons)


def _numbers(value: object, name: str = "") -> list[tuple[str, float]]:
    """All floating-point numbers of a nested report with their dotted names."""
    if isinstance(value, float):
        return [(name, value)]
    if isinstance(value, Mapping):
        return [found for key, inner in value.items() for found in _numbers(inner, f"{name}.{key}".lstrip("."))]
    return []
