"""Poisoned refreshes: each is refused by the gate, or does no harm to the lists of anybody."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from indexing.candidates import feature_names
from indexing.vectors import VectorIndex
from models.encoder import HistoryEncoder
from models.ranker import Ranker
from stream.knowledge.gate import judge
from stream.knowledge.learner import Learner, Networks
from stream.knowledge.learning import Learned
from stream.knowledge.log import MOST_QUERIES_OF_ONE_USER, Log, held_out_from
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.window import Window
from stream.settings import ModelSettings
from tests.rings import HOUR, SMALL, STEPS, TYPES, found, lists, refreshed, walk, walked

OLD, NEW = 1_500, 1_000  # sessions before the parent and after it
NEURAL = msgspec.structs.replace(SMALL, sources=())


@pytest.fixture(scope="module")
def parent() -> Learned:
    return refreshed(walked(OLD))


@pytest.fixture(scope="module")
def clean(parent: Learned) -> Learned:
    return refreshed(walked(OLD + NEW), parent.snapshot, OLD * STEPS)


def test_what_is_not_poisoned_is_published(parent: Learned, clean: Learned) -> None:
    """Both know the ring, and the second is not refused beside the first."""
    for learned in (parent, clean):
        assert judge(learned.report, SMALL).passed, learned.report
        assert found(learned.snapshot, within=2) > 0.95
    assert "against_popular" in parent.report
    assert "against_parent" not in parent.report
    assert "against_parent" in clean.report


@pytest.fixture(scope="module")
def clicked_by_a_bot() -> Window:
    """A hundred new sessions, then a hundred thousand clicks of one user on two items, ten times over: a million."""
    window = walked(OLD)
    for part in range(10):
        first = OLD + part * NEW // 10
        walk(window, range(first, first + NEW // 10))
        for at in range(100_000):
            window.append("bot", f"i{100 * (at % 2)}", "click", (first + NEW // 10) * HOUR + at)
    return window


def test_a_million_clicks_of_one_user_change_nobodys_lists(clean: Learned, clicked_by_a_bot: Window) -> None:
    """Published, and everybody who never met the bot's pair finds the next place as they would without it.

    Behind the one step that is certain lists of a ring are filled by chance: of three seeds the middle one counts.
    """
    pushed = []
    for seed in (3, 4, 5):
        parent = refreshed(walked(OLD), seed=seed).snapshot
        learned = refreshed(clicked_by_a_bot, parent, OLD * STEPS, seed=seed)
        assert judge(learned.report, SMALL).passed, learned.report
        assert learned.snapshot.counts.sum() <= (OLD + NEW) * STEPS + SMALL.most_of_one_user
        assert found(learned.snapshot, within=2) >= found(clean.snapshot, within=2) - 0.02
        pushed.append(shown_the_pair(learned.snapshot) - shown_the_pair(parent))
    assert sorted(pushed)[1] <= 5


def shown_the_pair(snapshot: Snapshot) -> int:
    """How many lists have one of the bot's items among the first five."""
    return sum(bool({"i0", "i100"} & set(listed[:5])) for listed in lists(snapshot))


def upside_down(learner: Learner, *_arguments: object) -> tuple[Ranker, None]:
    """In place of a ranker that has learned: the likeliest last."""
    return Ranker.untrained(-np.ones(len(feature_names(learner.model.sources)))), None


def test_a_busy_bot_does_not_keep_others_from_judging(
    parent: Learned, clicked_by_a_bot: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest tenth of the events is all the bot's: still it asks one query of five at most, and a ranker that puts
    the right items last is refused.
    """
    monkeypatch.setattr(Learner, "rank", upside_down)
    learned = refreshed(clicked_by_a_bot, parent.snapshot, OLD * STEPS)
    assert learned.report["held_out"]["queries"] > 5 * MOST_QUERIES_OF_ONE_USER
    assert not judge(learned.report, SMALL).passed


def test_what_is_held_out_reaches_behind_a_busy_user() -> None:
    """Of 200 users with 3 events each, then 1,000 of one: of 650 that count the newest tenth are 65, 50 of the one."""
    window = Window(TYPES.names)
    for at in range(600):
        window.append(f"u{at // 3}", f"i{at % 7}", "click", at * HOUR)
    for at in range(1_000):
        window.append("bot", "i0", "click", 600 * HOUR + at)
    log = Log.of(window, np.arange(7, dtype=np.int32), TYPES.weights, 1_600, 1_000)
    assert held_out_from(log, 0.1, 2_000) == 600 - 15
    assert held_out_from(log.until(600, 0), 0.1, 2_000) == 540
    assert held_out_from(log, 0.1, MOST_QUERIES_OF_ONE_USER) == 1_600 - MOST_QUERIES_OF_ONE_USER


@pytest.mark.parametrize("rate", ["learning_rate", "row_learning_rate", "ranker_learning_rate"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_a_mad_learning_rate_is_refused_or_does_no_harm(parent: Learned, rate: str, value: float) -> None:
    """Not a number, infinite, or a million times too high: none of which the settings let in."""
    model = msgspec.structs.replace(SMALL, **{rate: value})
    if rate == "ranker_learning_rate" and np.isnan(value):
        with pytest.raises(ValueError, match="learning rate"):
            refreshed(walked(OLD + 200), parent.snapshot, OLD * STEPS, model=model)
        return
    learned = refreshed(walked(OLD + 200), parent.snapshot, OLD * STEPS, model=model)
    refused_or_harmless(learned, parent, model)


Damage = Callable[[np.ndarray], np.ndarray]
DAMAGES: dict[str, Damage] = {
    "one is not a number": lambda vectors: np.where(np.arange(len(vectors))[:, None] == 7, np.nan, vectors),
    "some are infinite": lambda vectors: np.where(np.arange(len(vectors))[:, None] % 9 == 0, np.inf, vectors),
    "all are zero": np.zeros_like,
    "they are shuffled": lambda vectors: np.random.default_rng(0).permutation(vectors),
    "they are noise": lambda vectors: np.random.default_rng(0).normal(size=vectors.shape).astype(np.float32),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("model", [SMALL, NEURAL], ids=["with memories", "vectors alone"])
def test_damaged_item_vectors_are_refused_or_do_no_harm(
    parent: Learned, monkeypatch: pytest.MonkeyPatch, damage: str, model: ModelSettings
) -> None:
    """After training and before the index: what other sources make up for may pass, nothing else."""
    fit = Learner.fit

    def fit_and_damage(self: Learner, *arguments: object) -> Networks:
        networks = fit(self, *arguments)  # type: ignore[arg-type]
        vectors = DAMAGES[damage](networks.vectors)
        encoder = HistoryEncoder(networks.encoder.arrays(), vectors)
        return networks._replace(vectors=vectors, encoder=encoder)

    before = parent if model is SMALL else refreshed(walked(OLD), model=model)
    monkeypatch.setattr(Learner, "fit", fit_and_damage)
    learned = refreshed(walked(OLD + 200), before.snapshot, OLD * STEPS, model=model)
    refused = refused_or_harmless(learned, before, model)
    assert refused or model is SMALL, "without memories vectors are all there is"
    assert refused or np.isfinite(learned.snapshot.item_vectors).all()


def test_an_index_that_finds_little_is_refused(parent: Learned, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built over shuffled vectors it finds few of the nearest; an honest one of the same kind passes and says so."""
    model = msgspec.structs.replace(NEURAL, flat_below=1)
    before = refreshed(walked(OLD), model=model)
    honest = refreshed(walked(OLD + 200), before.snapshot, OLD * STEPS, model=model)
    assert judge(honest.report, model).passed
    assert honest.report["index"]["recall"] > 0.95

    def bad(_self: Learner, networks: Networks) -> VectorIndex:
        return VectorIndex.build(np.random.default_rng(0).permutation(networks.vectors), flat_below=1)

    monkeypatch.setattr(Learner, "index", bad)
    learned = refreshed(walked(OLD + 200), before.snapshot, OLD * STEPS, model=model)
    assert learned.report["index"]["recall"] < 0.6
    assert any("the index costs" in reason for reason in judge(learned.report, model).reasons)


def test_an_index_that_looks_into_too_few_lists_looks_wider(parent: Learned, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists that rest on vectors alone, one of the index's lists looked into: too little, so it looks into more."""
    model = msgspec.structs.replace(NEURAL, flat_below=1)
    before = refreshed(walked(OLD), model=model)

    def narrow(_self: Learner, networks: Networks) -> VectorIndex:
        return VectorIndex.build(networks.vectors, flat_below=1, nprobe=1)

    monkeypatch.setattr(Learner, "index", narrow)
    strict = msgspec.structs.replace(model, index_tolerance=0.0)
    learned = refreshed(walked(OLD + 200), before.snapshot, OLD * STEPS, model=strict)
    assert learned.report["index"]["cost"] <= 0.0
    assert learned.report["index"]["probes"] == learned.snapshot.vectors.probes > 1


def test_a_first_artifact_worse_than_popularity_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of all clicks go to ten items; a ranker that puts the right ones last serves worse than the popular list."""
    window = Window(TYPES.names)
    rng = np.random.default_rng(1)
    for session in range(600):
        for step in range(STEPS):
            item = rng.integers(10) if rng.random() < 0.5 else rng.integers(200)
            window.append(f"u{session}", f"i{item}", "click", session * HOUR + step * 1_000)
    assert judge(refreshed(window).report, SMALL).passed
    monkeypatch.setattr(Learner, "rank", upside_down)
    verdict = judge(refreshed(window).report, SMALL)
    assert any("most popular" in reason for reason in verdict.reasons), verdict


@pytest.mark.parametrize("seed", range(3))
def test_where_nothing_can_be_known_a_first_artifact_is_published(seed: int) -> None:
    """Clicks at random: no list is better than another, and no better than popularity is no reason to refuse."""
    learned = refreshed(walked(300, noise=1.0, items=40), seed=seed)
    assert judge(learned.report, SMALL).passed, learned.report


def refused_or_harmless(learned: Learned, before: Learned, model: ModelSettings) -> bool:
    """Whether the gate refused it; if not, its lists find the next place as those of the version before do."""
    if not judge(learned.report, model).passed:
        return True
    assert found(learned.snapshot, within=20) >= found(before.snapshot, within=20) - 0.03
    return False
