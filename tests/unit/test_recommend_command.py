"""`alluvium recommend` as a person meets it: what it asks the workers."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from stream.asking import NoAnswerError
from stream.cli import asking
from stream.cli.main import load_commands
from stream.settings import Settings
from stream.wire.messages import Recommendation, Request


@pytest.mark.parametrize(
    ("options", "intent", "exclude"),
    [
        ([], None, None),
        (["--intent", "purchase"], "purchase", None),
        (["--exclude-purchased"], None, True),
        (["--keep-purchased"], None, False),
    ],
)
def test_what_is_not_said_is_left_to_the_settings(
    monkeypatch: pytest.MonkeyPatch, options: list[str], intent: str | None, exclude: bool | None
) -> None:
    """Intent and what was bought are asked for only where the command line says so."""
    asked: list[Request] = []

    async def ask(_settings: Settings, request: Request, _timeout: float) -> Recommendation:
        asked.append(request)
        raise NoAnswerError("nobody there")

    monkeypatch.setattr(asking, "ask", ask)
    found = CliRunner().invoke(load_commands(), ["recommend", "u1", *options])
    assert found.exit_code == 1
    assert [(request.intent, request.filters.exclude_purchased) for request in asked] == [(intent, exclude)]
