"""A newcomer's candidate source: one file and one line of settings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from indexing import sources
from indexing.candidates import feature_names
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.files import read_snapshot, write_snapshot
from stream.knowledge.learning import learn
from stream.knowledge.sealing import seal
from stream.knowledge.serving import LivePopularity, Serving
from stream.knowledge.window import Window
from stream.settings import ModelSettings, Settings, SettingsError, read_settings
from tests.artifacts import NOON, drafted
from tests.worlds import HOUR, TYPES, clicked

NEWCOMER = '''
import numpy as np

class NextNumber:
    """Whoever looks at row i wants row i + 1."""

    def __init__(self, count):
        self.count = count

    @classmethod
    def build(cls, interactions, item_count, contents=None):
        return cls(item_count)

    def candidates(self, batch, k):
        rows, scores = np.full((len(batch), k), -1, np.int32), np.zeros((len(batch), k), np.float32)
        for user in range(len(batch)):
            history = batch.rows[batch.starts[user] : batch.starts[user + 1]]
            if len(history) and 0 <= history[-1] < self.count:
                rows[user, 0], scores[user, 0] = (history[-1] + 1) % self.count, 1.0
        return rows, scores

    def arrays(self):
        return {"count": np.array([self.count])}

    @classmethod
    def from_arrays(cls, arrays, item_count):
        return cls(item_count)

SOURCE = NextNumber
'''


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "next_number.py").write_text(NEWCOMER, "utf-8")
    monkeypatch.setattr(sources, "__path__", [*sources.__path__, str(tmp_path)])
    yield "next_number"
    sources.source.cache_clear()


def window_of(users: int, items: int) -> Window:
    """Each user walks a stretch of the items' numbers from a random place on: what the newcomer knows by heart."""
    rng = np.random.default_rng(1)
    window = Window(TYPES)
    for number in range(users):
        begin = int(rng.integers(items))
        for step in range(4):
            moment = NOON + number * HOUR + step * 60_000
            window.append(f"u{number}", f"i{(begin + step) % items:03}", "click", moment, offset=number * 4 + step)
    return window


def test_one_file_and_one_line_of_settings(newcomer: str, tmp_path: Path) -> None:
    """A source that the parent did not have: the refresh learns that it is always right, lists name it, and it comes
    back from the artifact's files.
    """
    window = window_of(200, 150)
    catalogue, types = Catalogue(), Settings().event_types()
    model = ModelSettings(first_epochs=0, epochs=0)
    known = {"event_types": types, "seed": 1, "new_events": 400}
    parent = learn(window, catalogue, None, artifact_id="before", model=model, **known).snapshot  # type: ignore[arg-type]
    model = msgspec.structs.replace(model, sources=(*model.sources, newcomer))
    snapshot = learn(window, catalogue, parent, artifact_id="after", model=model, **known).snapshot  # type: ignore[arg-type]
    with_directory = tmp_path / "artifact"
    with_directory.mkdir()
    write_snapshot(snapshot, catalogue, with_directory)
    again = read_snapshot(with_directory, seal(with_directory, drafted(snapshot), NOON))

    assert tuple(again.memories) == (*parent.memories, newcomer)
    weights = dict(zip(feature_names(tuple(again.memories)), again.ranker.arrays()["linear"].tolist(), strict=True))
    assert weights[f"{newcomer}_score"] > 0.0
    (ranked,) = Serving(again, catalogue, LivePopularity()).recommend([clicked("i010", "i011")])
    first = snapshot.vocabulary.ids[(snapshot.vocabulary.rows["i011"] + 1) % 150]
    assert newcomer in ranked.sources[ranked.item_ids.index(first)]


def test_an_unknown_source_is_named_with_those_there_are(tmp_path: Path) -> None:
    """A typing error in `model.sources` is found when the settings are read."""
    file = tmp_path / "alluvium.toml"
    file.write_text('[model]\nsources = ["sesions"]\n', "utf-8")
    with pytest.raises(SettingsError, match=r"unknown candidate source 'sesions'; known: .*covisitation, .*sessions"):
        read_settings(file, {})
