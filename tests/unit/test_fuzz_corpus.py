"""What fuzzing started from and what it once broke: replayed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.__main__ import CORPUS, NAMES
from tests.fuzz.targets import TARGETS

INPUTS = sorted(file for file in CORPUS.rglob("*") if file.is_file())


@pytest.mark.parametrize("file", INPUTS, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_no_input_of_the_corpus_breaks_a_decoder(file: Path) -> None:
    TARGETS[file.parent.name](file.read_bytes())


def test_every_target_has_a_corpus_and_its_turn() -> None:
    assert set(TARGETS) == set(NAMES) == {file.parent.name for file in INPUTS}
