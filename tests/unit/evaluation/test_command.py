"""`alluvium evaluate` as a person meets it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import typer
from typer.testing import CliRunner

from stream.cli import evaluate

ROWS = "session,item,day\n" + "".join(f"s{at},{item},{at // 30}\n" for at in range(60) for item in ("a", "b", "c"))


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()

    @made.callback()
    def root(config: Path | None = None) -> None:
        """Two commands, as in the real one."""

    evaluate.register(made)
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text(ROWS)
    return path


COLUMNS = "user=session,item=item,period=day"


def test_json_has_the_contracts_fields(app: typer.Typer, file: Path) -> None:
    """a, b, c by everybody: thirty users are asked twice each, and co-visitation finds both."""
    options = [
        "--protocol",
        "periods",
        "--columns",
        COLUMNS,
        "--model",
        "covisitation",
        "--against",
        "popular",
        "--json",
    ]
    found = CliRunner().invoke(app, ["evaluate", str(file), *options])
    assert found.exit_code == 0, found.output
    result = msgspec.json.decode(found.stdout)
    assert set(result["mean"]) == {f"{name}@{k}" for name in ("recall", "mrr", "ndcg") for k in (10, 20)}
    assert result["queries"] == 60
    assert result["mean"]["recall@20"] == 1.0
    assert result["periods"][0]["period"] == 1
    assert set(result["seconds"]) == {"fit", "answer"}
    assert set(result["against"]) == {"popular"}


def test_a_table_for_people(app: typer.Typer, file: Path) -> None:
    """The full model, refreshed by events, prints a row for itself and its baselines."""
    options = ["--columns", COLUMNS, "--refresh-every", "60", "--against", "popular,covisitation", "--k", "5"]
    found = CliRunner().invoke(app, ["evaluate", str(file), *options])
    assert found.exit_code == 0, found.output
    for word in ("full", "popular", "covisitation", "recall@5", "queries", "coverage"):
        assert word in found.stdout


@pytest.mark.parametrize(
    "options",
    [
        ["--protocol", "guess"],
        ["--model", "magic"],
        ["--against", "magic"],
        ["--k", "0"],
        ["--k", "ten"],
        ["--columns", "user=session,thing=item"],
        ["--dataset", "nowhere"],
        ["--event-type", "dance"],
        ["--refresh-every", "soon"],
        ["--sample", "2"],
    ],
)
def test_wrong_usage_ends_with_two(app: typer.Typer, file: Path, options: list[str]) -> None:
    """One line that says what is wrong, exit code 2."""
    given = ["evaluate", str(file), *options]
    found = CliRunner().invoke(app, given if "--columns" in options else [*given, "--columns", COLUMNS])
    assert found.exit_code == 2, found.output


def test_a_file_that_cannot_be_read_ends_with_one(app: typer.Typer, tmp_path: Path) -> None:
    """Failed, not wrong usage."""
    found = CliRunner().invoke(app, ["evaluate", str(tmp_path / "none.csv"), "--columns", COLUMNS])
    assert found.exit_code == 1
