"""Failpoints: all that are named are planted, nothing breaks unless told to, and who is told to says so."""

from __future__ import annotations

import ast
import errno
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream import failpoints
from stream.cli.main import load_commands
from stream.doctor import check_failpoints
from stream.failpoints import NAMES, arm, failpoint

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _off_again() -> Iterator[None]:
    yield
    arm("")


@cache
def planted() -> list[str]:
    """The arguments of all calls, a computed part as a pattern."""
    found = []
    for file in (ROOT / "stream").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoint":
                (name,) = node.args
                parts = name.values if isinstance(name, ast.JoinedStr) else [name]
                found.append("".join(re.escape(str(p.value)) if isinstance(p, ast.Constant) else ".+" for p in parts))
    return found


def test_every_name_is_planted_and_every_place_has_its_name() -> None:
    """The list that stories go through is the code's own."""
    assert len(set(NAMES)) == len(NAMES)
    for name in NAMES:
        assert any(re.fullmatch(pattern, name) for pattern in planted()), name
    for pattern in planted():
        assert any(re.fullmatch(pattern, name) for name in NAMES), pattern


def test_nothing_breaks_unless_it_is_told_to() -> None:
    """No place does anything when the variable is not set, and only the named one does when it is."""
    for name in NAMES:
        failpoint(name)
    arm("refresh.gate=error, write.index.faiss=disk-full@2")
    failpoint("refresh.announce")
    with pytest.raises(RuntimeError, match=r"refresh\.gate"):
        failpoint("refresh.gate")
    failpoint("write.index.faiss")
    with pytest.raises(OSError, match=r"write\.index\.faiss") as refused:
        failpoint("write.index.faiss")
    assert refused.value.errno == errno.ENOSPC
    failpoint("write.index.faiss")  # the third time is not the second


@pytest.mark.parametrize("told", ["nowhere=kill", "refresh.gate", "refresh.gate=explode", "refresh.gate=kill@x"])
def test_what_is_misspelt_is_an_error(told: str) -> None:
    """It names the places and actions that there are, and what was armed before stays."""
    with pytest.raises(ValueError, match=r"places: read\.window.*actions: kill"):
        arm(told)


def test_a_command_that_is_told_to_break_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning in the log of every command, one in what the doctor says, exit code 2 for a misspelt place."""
    assert check_failpoints({}).status == "ok"
    assert check_failpoints({failpoints.VARIABLE: "refresh.fit=kill"}).status == "warning"
    monkeypatch.setenv(failpoints.VARIABLE, "refresh.fit=kill")
    shown = CliRunner().invoke(load_commands(), ["settings"])
    assert (shown.exit_code, "WARNING alluvium: this process is told to break" in shown.stderr) == (0, True)
    monkeypatch.setenv(failpoints.VARIABLE, "refresh.fit=kil")
    assert CliRunner().invoke(load_commands(), ["settings"]).exit_code == 2
