"""The rooms of the house: who may know whom, what the pure middle never touches, and how large things may grow."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
TOPS = ("models", "indexing", "stream")

# What each room may import of ours. A room is the longest prefix that fits; its own modules are always allowed.
WIRE = {"stream.wire", "stream.settings"}
EDGES = {
    "stream.settings",
    "stream.metrics",
    "stream.logs",
    "stream.http",
    "stream.kafka",
    "stream.announcements",
    "stream.failpoints",
}
ROOMS: dict[str, set[str]] = {
    "models": set(),
    "indexing": set(),
    "stream.passwords": set(),
    "stream.allocator": set(),
    "stream.priority": set(),
    "stream.failpoints": set(),
    "stream.ranges": {"stream.wire.times"},
    "stream.settings": {"stream.passwords", "stream.ranges", "stream.wire.event_types", "indexing.sources"},
    "stream.metrics": {"stream.memory_limit", "stream.wire.decoding"},
    "stream.memory_limit": set(),
    "stream.logs": {"stream.settings"},
    "stream.http": {"stream.metrics"},
    "stream.fetched": set(),
    "stream.produced": set(),
    "stream.giving_way": set(),
    "stream.kafka": {"stream.settings", "stream.logs", "stream.fetched", "stream.produced", "stream.giving_way"},
    "stream.wire": WIRE,
    "stream.state": {*WIRE, "stream.kafka", "stream.logs"},
    "stream.knowledge": {*WIRE, "models", "indexing", "stream.failpoints"},
    "stream.queries": {*WIRE, "stream.state", "stream.knowledge"},
    "stream.evaluation": {
        *WIRE,
        "stream.logs",
        "stream.kafka",
        "stream.state",
        "stream.knowledge",
        "stream.queries",
        "models.quality",
    },
    "stream.worker": {
        *WIRE,
        *EDGES,
        "stream.allocator",
        "stream.giving_way",
        "stream.letter_writer",
        "stream.state",
        "stream.knowledge",
        "stream.queries",
    },
    "stream.trainer": {*WIRE, *EDGES, "stream.letter_writer", "stream.state", "stream.knowledge"},
    "stream.shop": {*WIRE, *EDGES},
    "stream.announcements": {*WIRE, *EDGES},
    "stream.promoting": {*WIRE, *EDGES, "stream.knowledge"},
    "stream.letters": {*WIRE, *EDGES},
    "stream.letter_writer": {*WIRE, *EDGES},
    "stream.asking": {*WIRE, *EDGES, "stream.state"},
    "stream.bench": {
        *WIRE,
        *EDGES,
        "stream.shop",
        "stream.state",
        "stream.knowledge",
        "stream.evaluation",
        "stream.queries",
        "stream.trainer",
    },
    "stream.doctor": {*WIRE, *EDGES, "stream.shop", "stream.knowledge"},
    "stream.cli": {"stream"},
}

ELSEWHERE = "stream.bench.contenders"  # programs on other people's libraries, each in an environment of its own

# Libraries that are known in few places only.
FENCED = {
    "faust": ("stream.worker", "stream.state.table", "stream.doctor", ELSEWHERE),  # the doctor names its version
    "mode": ("stream.worker", "stream.state.table"),
    "prometheus_client": ("stream.metrics",),
    "torch": ("models", "stream.knowledge.threads"),
    "faiss": ("indexing", "stream.doctor"),
    "numba": ("indexing", "models.encoding", "models.ranking"),
    "confluent_kafka": (),
}

# The middle: no clock, no environment, no network, no randomness but from a seed that is an argument.
PURE = (
    "models",
    "indexing",
    "stream.state.user_state",
    "stream.wire.decoding",
    "stream.wire.event_types",
    "stream.wire.messages",
    "stream.wire.times",
    "stream.queries",
    "stream.knowledge.catalogue",
    "stream.knowledge.choosing",
    "stream.knowledge.gate",
    "stream.knowledge.judging",
    "stream.knowledge.learning",
    "stream.knowledge.listed",
    "stream.knowledge.log",
    "stream.knowledge.places",
    "stream.knowledge.remembering",
    "stream.knowledge.served",
    "stream.knowledge.serving",
    "stream.knowledge.snapshot",
    "stream.knowledge.window",
)
IMPURE_MODULES = {
    "aiohttp", "aiokafka", "asyncio", "fsspec", "http", "os", "platform", "random", "secrets", "socket", "subprocess",
    "sys", "tempfile", "threading", "time", "urllib", "uuid",
}  # fmt: skip
IMPURE_CALLS = re.compile(
    r"(^|\.)(datetime|date)\.(now|utcnow|today)$|^(np|numpy)\.random\.(?!default_rng$|Generator$|PCG64$|SeedSequence$)"
    r"|^torch\.(seed|rand|randn|randint|randperm|bernoulli|multinomial)$"
)
SEEDED = {"generator", "seed"}  # keywords that make a random call depend on its arguments alone

FILE_LINES = 320
FUNCTION_LINES = 45


class Module(NamedTuple):
    """A file of ours, parsed."""

    name: str
    file: Path
    tree: ast.Module


@cache
def modules() -> dict[str, Module]:
    found = {}
    for top in TOPS:
        for file in sorted((ROOT / top).rglob("*.py")):
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found[name] = Module(name, file, ast.parse(file.read_text("utf-8"), str(file)))
    return found


def within(module: str, places: tuple[str, ...] | set[str]) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places)


def imports(tree: ast.AST) -> Iterator[str]:
    """Full names of all that is imported, inside functions too; `from a import b` is a.b where that is a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                assert alias.name != "*", "no star imports"
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in modules() else str(node.module)


def top_level(tree: ast.Module) -> ast.Module:
    """The statements that run when the module is imported, without those for type checkers alone."""
    kept = [
        node
        for node in tree.body
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    ]
    return ast.Module(kept, [])


def ours(module: Module) -> set[str]:
    return {name for name in imports(module.tree) if name.split(".")[0] in TOPS}


def test_every_file_is_in_a_room() -> None:
    """A new top-level part of `stream` needs a line in the table above."""
    homeless = [name for name in modules() if not within(name, set(ROOMS)) and name != "stream"]
    assert not homeless


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_know_only_their_neighbours(room: str) -> None:
    """Imports of ours, those inside functions too, stay within what the table allows."""
    wrong = [
        f"{module.name} imports {name}"
        for module in modules().values()
        if within(module.name, (room,))
        for name in ours(module)
        if not within(name, {room, *ROOMS[room]})
    ]
    assert not wrong


def test_worker_and_trainer_never_meet() -> None:
    """Not even through others: what one process imports never leads to the other."""
    for one, other in (("stream.worker", "stream.trainer"), ("stream.trainer", "stream.worker")):
        for name in modules():
            if within(name, (one,)):
                assert not [reached for reached in reachable(name) if within(reached, (other,))], name


def test_models_and_indexing_meet_only_in_knowledge() -> None:
    """`stream.knowledge` is the only place that names them; `models.quality` is a measure that evaluation shares, and
    settings check their list of sources.
    """
    for module in modules().values():
        names = {name.split(".")[0] for name in ours(module) if name not in ("models.quality", "indexing.sources")}
        if {"models", "indexing"} & names and module.name.startswith("stream"):
            assert within(module.name, ("stream.knowledge",)), module.name


@pytest.mark.parametrize("library", FENCED)
def test_libraries_stay_in_their_places(library: str) -> None:
    """Faust, prometheus_client and the learning and searching libraries are each known in few rooms."""
    wrong = [
        module.name
        for module in modules().values()
        if any(within(name, (library,)) for name in imports(module.tree)) and not within(module.name, FENCED[library])
    ]
    assert not wrong


def test_a_worker_needs_no_torch() -> None:
    """Serving is numpy, FAISS and Numba alone: importing a worker never imports torch."""
    for name in modules():
        if within(name, ("stream.worker",)):
            for reached in {name, *reachable(name)}:
                assert "torch" not in {found.split(".")[0] for found in imports(top_level(modules()[reached].tree))}, (
                    f"{name} reaches {reached}, which imports torch"
                )


@cache
def reachable(name: str) -> frozenset[str]:
    """All modules of ours that importing `name` imports, directly or not."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for neighbour in imports(top_level(modules()[waiting.pop()].tree)):
            if neighbour in modules() and neighbour not in found:
                found.add(neighbour)
                waiting.append(neighbour)
    return frozenset(found)


def test_no_import_circles() -> None:
    """No module reaches itself."""
    assert not [name for name in modules() if name in reachable(name)]


def pure_modules() -> list[Module]:
    return [module for module in modules().values() if within(module.name, PURE)]


def test_the_middle_reads_no_clock_no_environment_no_network() -> None:
    """Time, seed and path are arguments: the same arguments give the same answer."""
    wrong = []
    for module in pure_modules():
        wrong += [
            f"{module.name} imports {name}" for name in imports(module.tree) if name.split(".")[0] in IMPURE_MODULES
        ]
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and not SEEDED & {keyword.arg for keyword in node.keywords}:
                called = ast.unparse(node.func)
                if IMPURE_CALLS.search(called) or (called.endswith("default_rng") and not node.args):
                    wrong.append(f"{module.name}:{node.lineno} calls {called}")
    assert not wrong


def test_nothing_unpickles() -> None:
    """No pickle on disk, no torch.load, no numpy file that may hold objects, no exec."""
    wrong = []
    for module in modules().values():
        wrong += [
            f"{module.name} imports {name}"
            for name in imports(module.tree)
            if name.split(".")[0] in {"pickle", "shelve", "marshal", "joblib", "cloudpickle", "dill"}
        ]
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and re.search(
                r"^torch\.(load|save)$|^np\.(load|save|savez)$|^(exec|eval)$|\.(exec|eval)$", ast.unparse(node.func)
            ):
                is_inference_mode = ast.unparse(node.func).endswith(".eval") and not node.args  # torch.nn.Module.eval()
                if not is_inference_mode:
                    wrong.append(f"{module.name}:{node.lineno} calls {ast.unparse(node.func)}")
    assert not wrong


def test_files_stay_readable() -> None:
    """A file is a page or two; a larger one wants to be two files."""
    large = {
        str(module.file.relative_to(ROOT)): lines
        for module in modules().values()
        if (lines := len(module.file.read_text("utf-8").splitlines())) > FILE_LINES
    }
    assert not large, f"more than {FILE_LINES} lines: {large}"


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body if ast.get_docstring(function) is None else function.body[1:]
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_functions_stay_readable() -> None:
    """A function's body fits on a screen, its docstring not counted; a longer one wants names for its parts."""
    long = {
        f"{module.name}.{node.name}": lines
        for module in modules().values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (lines := body_lines(node)) > FUNCTION_LINES
    }
    assert not long, f"more than {FUNCTION_LINES} lines: {long}"


def test_every_module_says_what_it_is() -> None:
    """Packages may be silent; a module begins with its docstring."""
    silent = [
        module.name
        for module in modules().values()
        if module.file.name != "__init__.py" and ast.get_docstring(module.tree) is None
    ]
    assert not silent


def test_every_module_imports() -> None:
    """All of them, each on its own name, but for what runs in another environment."""
    for name in modules():
        if name != "stream.cli.__main__" and not within(name, (ELSEWHERE,)):
            import_module(name)
            assert name in sys.modules


def recipes() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for line in (ROOT / "Makefile").read_text("utf-8").splitlines():
        target = re.match(r"([a-z]+):(?:.*?## (.+))?", line)
        if target:
            found[target[1]] = target[2]
    return found


def test_recipes_are_few_and_explained() -> None:
    """At most fourteen targets, each with its line of help; `make` alone prints them."""
    assert {"demo", "test", "lint", "types", "format", "clean"} <= set(recipes())
    assert len(recipes()) <= 14
    assert not [name for name, text in recipes().items() if not text]


def test_ci_calls_the_recipes() -> None:
    """What is checked by hand and what is checked by CI is the same."""
    script = (ROOT / ".ci/run").read_text("utf-8")
    called = re.search(r"for target in ([a-z ]+); do", script)
    assert called is not None
    assert called[1].split() == ["test", "lint", "types"]


def test_constraints_pin_every_dependency_in_its_range() -> None:
    """Names and versions only; each direct dependency is pinned to a version that its range allows."""
    pins = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            pin = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.]+)", line)
            assert pin is not None, line
            pins[canonicalize_name(pin[1])] = pin[2]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        requirement = Requirement(text)
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(version), f"{text}, but constraints.txt has {version}"
