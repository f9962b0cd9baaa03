"""The documents say all there is (settings, metrics, topics, event types, codes, commands); links lead somewhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import typer.main

from stream.cli.main import load_commands
from stream.metrics import STAGES
from stream.settings import Settings, setting_names
from stream.wire.decoding import ERROR_CODES
from stream.wire.topics import SPECS
from tests.known_metrics import families

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs/operations.md").read_text("utf-8")
MESSAGES = (ROOT / "docs/messages.md").read_text("utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def plain(value: object) -> object:
    """A setting as TOML has it."""
    return list(value) if isinstance(value, tuple) else value


def rows(text: str) -> dict[str, str]:
    """First cells of all tables, without their backticks, and the rest of the row; the first of a name counts."""
    return dict(reversed(re.findall(r"^\| `([^`]+)` \|(.*)\|$", text, re.MULTILINE)))


def test_every_setting_is_documented() -> None:
    """Each has its row in operations, and no row is of a setting that is gone."""
    documented = {name for name in rows(OPERATIONS) if re.fullmatch(r"[a-z]+\.[a-z_]+", name)}
    assert documented == {f"{section}.{key}" for section, key in setting_names()}


def test_documented_defaults_are_the_defaults() -> None:
    """The second cell of a setting's row is its default, as TOML."""
    table = rows(OPERATIONS)
    for section, key in setting_names():
        if (section, key) != ("events", "types"):  # a table of its own in messages
            written = table[f"{section}.{key}"].split("|")[0].strip().strip("`")
            default = plain(getattr(getattr(Settings(), section), key))
            assert tomllib.loads(f"value = {written}")["value"] == default, key


def test_every_metric_is_documented_with_its_labels() -> None:
    """`name{label,label}` in the table of metrics, exactly those there are."""
    documented = {}
    for cell in rows(OPERATIONS):
        match = re.fullmatch(r"(alluvium_[a-z_]+)(?:\{([a-z_,]+)\})?", cell)
        if match:
            documented[match[1]] = set(match[2].split(",")) if match[2] else set()
    assert documented == families()
    assert all(f"`{stage}`" in OPERATIONS for stage in STAGES)


def test_every_topic_is_documented_with_its_cleanup() -> None:
    """Each topic's row in messages names its clean-up policy."""
    table = rows(MESSAGES)
    for spec in SPECS:
        if spec.name != "state":
            assert spec.cleanup in table[spec.name], spec.name
    assert "changelog" in MESSAGES


def test_every_event_type_and_alias_is_documented() -> None:
    """A row for each type with its weight and all its aliases."""
    table = rows(MESSAGES)
    for kind in Settings().events.types:
        assert f"{kind.weight:g}" in table[kind.name]
        assert all(f"`{alias}`" in table[kind.name] for alias in kind.aliases)


def test_every_code_is_documented() -> None:
    """A row for each code that a dead letter or an error can carry."""
    assert set(ERROR_CODES) <= set(rows(MESSAGES))


def test_every_command_is_documented() -> None:
    """Each command of `alluvium --help`, sub-commands too, is in operations."""
    group = typer.main.get_command(load_commands())
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        for part in getattr(command, "commands", {"": None}):
            assert f"`alluvium {name} {part}".rstrip() in OPERATIONS, f"alluvium {name} {part}"


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_command_lines_are_right(file: Path) -> None:
    """Every `alluvium …` in a block of commands is a command with options that it has."""
    blocks = re.findall(r"^```console\n(.*?)^```", file.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = [part.split("#")[0].split() for block in blocks for line in block.splitlines() for part in line.split("&&")]
    for words in (line for line in lines if line[:1] == ["alluvium"]):
        command = typer.main.get_command(load_commands())
        for word in words[1:]:
            if hasattr(command, "commands") and not word.startswith("-"):
                command = command.commands[word]
            elif word.startswith("--"):
                known = {option for parameter in command.params for option in parameter.opts}
                assert word in known, " ".join(words)


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file: Path) -> None:
    """Relative links are files of the repository, and headings where they name one."""
    for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text("utf-8")):
        if not target.startswith(("http:", "https:", "mailto:")):
            path, _, anchor = target.partition("#")
            linked = (file.parent / path).resolve() if path else file
            assert linked.exists(), target
            if anchor:
                headings = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), re.MULTILINE)
                assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}, (
                    target
                )


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_recipes_in_documents_exist(file: Path) -> None:
    """`make x` names a target of the Makefile, and a path in backticks that looks like ours is a file."""
    text = file.read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)) <= targets
    for path in re.findall(r"`((?:stream|models|indexing|deploy|tests|docs)/[\w./-]+\.\w+)`", text):
        assert (ROOT / path).exists(), path


def test_topic_specs_have_unique_names() -> None:
    """A topic is written down once."""
    assert len({spec.name for spec in SPECS}) == len(SPECS)
