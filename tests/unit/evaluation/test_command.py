"""`alluvium evaluate` as a person meets it."""

from __future__ import annotations

import sys
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
        ["--hide-items", "0.1"],
        ["--warm-up", "never"],
        ["--warm-up", "1d", "--protocol", "periods"],
    ],
)
def test_wrong_usage_ends_with_two(app: typer.Typer, file: Path, options: list[str]) -> None:
    """One line that says what is wrong, exit code 2."""
    given = ["evaluate", str(file), *options]
    found = CliRunner().invoke(app, given if "--columns" in options else [*given, "--columns", COLUMNS])
    assert found.exit_code == 2, found.output


def test_what_is_left_out_is_said_and_in_the_json(app: typer.Typer, file: Path) -> None:
    """On standard error, while the result goes to standard output."""
    with file.open("a") as stream:
        stream.write(",a,1\n,b,1\ns,a,soon\n")
    options = ["--protocol", "periods", "--columns", COLUMNS, "--model", "popular", "--json"]
    found = CliRunner().invoke(app, ["evaluate", str(file), *options])
    assert found.exit_code == 0, found.output
    assert msgspec.json.decode(found.stdout)["left_out"] == {"no_user": 2, "bad_period": 1}
    assert "left out: 2 (no_user)" in found.stderr


def test_items_of_a_file(app: typer.Typer, file: Path, tmp_path: Path) -> None:
    """Item d of the file has no event: the full model lists it as the others; a line that is no item is counted."""
    items = tmp_path / "items.jsonl"
    items.write_text("".join(f'{{"item_id": "{name}", "title": "thing"}}\n' for name in "abcd") + '{"title": "?"}\n')
    options = ["--protocol", "periods", "--columns", COLUMNS, "--items", str(items), "--json"]
    found = CliRunner().invoke(app, ["evaluate", str(file), *options])
    assert found.exit_code == 0, found.output
    result = msgspec.json.decode(found.stdout)
    assert result["left_out"] == {"bad_item": 1}
    assert result["coverage"] == 1.0


def test_a_picture_of_quality_over_time(app: typer.Typer, file: Path, tmp_path: Path) -> None:
    """A PNG, beside the usual result."""
    pytest.importorskip("matplotlib")
    picture = tmp_path / "out.png"
    options = ["--columns", COLUMNS, "--model", "popular", "--against", "frozen", "--refresh-every", "40"]
    found = CliRunner().invoke(app, ["evaluate", str(file), *options, "--plot", str(picture), "--json"])
    assert found.exit_code == 0, found.output
    assert picture.read_bytes().startswith(b"\x89PNG")
    missing = CliRunner().invoke(app, ["evaluate", str(file), *options, "--plot", str(tmp_path / "no" / "out.png")])
    assert missing.exit_code == 1


def test_without_matplotlib_the_picture_is_refused_first(
    app: typer.Typer, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says what to install, before any work."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = CliRunner().invoke(app, ["evaluate", str(file), "--columns", COLUMNS, "--plot", str(tmp_path / "out.png")])
    assert found.exit_code == 1
    assert "alluvium[plot]" in found.stderr


@pytest.mark.parametrize("refresh_every", ["never", "20", "1h"])
@pytest.mark.parametrize("protocol", ["periods", "prequential"])
def test_all_ways_to_refresh(app: typer.Typer, file: Path, protocol: str, refresh_every: str) -> None:
    """Events, time and never are known by both protocols of streams."""
    options = ["--protocol", protocol, "--columns", COLUMNS, "--model", "covisitation", "--json"]
    found = CliRunner().invoke(app, ["evaluate", str(file), *options, "--refresh-every", refresh_every])
    assert found.exit_code == 0, found.output
    assert msgspec.json.decode(found.stdout)["queries"] > 0


@pytest.mark.parametrize("warm_up", ["90", "1d"])
@pytest.mark.parametrize(("refresh_every", "versions"), [("never", 1), ("60", 2)])
def test_a_warm_up_before_the_first_version(
    app: typer.Typer, file: Path, warm_up: str, refresh_every: str, versions: int
) -> None:
    """Ninety events are the first day: nothing is asked in it, then twice of each of thirty users; 60 is too early."""
    options = ["--columns", COLUMNS, "--model", "covisitation", "--json", "--warm-up", warm_up]
    found = CliRunner().invoke(app, ["evaluate", str(file), *options, "--refresh-every", refresh_every])
    assert found.exit_code == 0, found.output
    result = msgspec.json.decode(found.stdout)
    assert result["queries"] == 60
    assert result["refreshes"]["published"] == versions


def test_topics_that_cannot_be_read_end_with_one(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file the topics are read: the servers are named."""
    monkeypatch.setenv("ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    found = CliRunner().invoke(app, ["evaluate"])
    assert found.exit_code == 1
    assert "127.0.0.1:1" in found.stderr


def test_a_file_of_which_no_row_is_an_event_ends_with_one(app: typer.Typer, tmp_path: Path) -> None:
    """The column that is to blame is named."""
    bad = tmp_path / "log.csv"
    bad.write_text("u,i,t\n1,a,soon\n2,b,later\n")
    found = CliRunner().invoke(app, ["evaluate", str(bad), "--columns", "user=u,item=i,time=t"])
    assert found.exit_code == 1
    assert "column 't' is not made of times; left out were 2 rows (bad_time)" in found.stderr


def test_a_file_that_cannot_be_read_ends_with_one(app: typer.Typer, tmp_path: Path) -> None:
    """Failed, not wrong usage."""
    found = CliRunner().invoke(app, ["evaluate", str(tmp_path / "none.csv"), "--columns", COLUMNS])
    assert found.exit_code == 1
