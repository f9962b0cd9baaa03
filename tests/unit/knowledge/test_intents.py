"""One history, two intents, through refresh and lists: what users click next and what they buy next are other items."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from indexing.histories import HistoryBatch
from models.encoder import HistoryEncoder
from stream.knowledge import judging
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.learning import Learned, learn
from stream.knowledge.popularity import LivePopularity
from stream.knowledge.serving import Query, Serving
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.window import Window
from stream.settings import ModelSettings, Settings

TYPES = Settings().event_types()
SMALL = ModelSettings(
    dimensions=16,
    length=10,
    inner=16,
    token_buckets=64,
    negatives=64,
    batch_events=256,
    first_epochs=10,
    learning_rate=0.01,
    ranker_epochs=10,
    ranker_learning_rate=0.01,
)
TOPICS, EACH, MINUTE = 8, 10, 60_000  # of each topic ten things are there to look at and ten others to buy
HOUR = 60 * MINUTE
BUYS = 0.3  # share of the steps that are purchases: nobody can tell which
History = list[tuple[str, str]]  # (item, event type)


def visit(rng: np.random.Generator, steps: int = 8) -> History:
    """Somebody who stays with a topic, and looks and buys at random within it."""
    topic, history = int(rng.integers(TOPICS)), []
    for _ in range(steps):
        kind = "purchase" if rng.random() < BUYS else "click"
        history.append((f"{kind}-{topic}-{int(rng.integers(EACH))}", kind))
    return history


def learned_from(visits: int, intent: str | None = None) -> Learned:
    window, rng = Window(TYPES.names), np.random.default_rng(1)
    for user in range(visits):
        for step, (item, kind) in enumerate(visit(rng)):
            window.append(f"u{user}", item, kind, user * HOUR + step * MINUTE, offset=len(window))
    return learn(
        window, Catalogue(), None,
        artifact_id="a1", event_types=TYPES, model=SMALL, seed=3, new_events=len(window), intent=intent,
    )  # fmt: skip


@pytest.fixture(scope="module")
def serving() -> Serving:
    return Serving(learned_from(400).snapshot, Catalogue(), LivePopularity())


def recall(serving: Serving, wanted: str, intent: str | None) -> float:
    """Recall@10 of new users' last events that are of the wanted type, in lists asked with an intent."""
    rng = np.random.default_rng(2)
    visits = [history for history in (visit(rng) for _ in range(300)) if history[-1][1] == wanted]
    times = [step * MINUTE for step in range(7)]
    before = [tuple(zip(*history[:-1], strict=True)) for history in visits]
    queries = [Query(items, kinds, times, times[-1], 10, intent=intent) for items, kinds in before]
    lists = serving.recommend(queries)
    return float(np.mean([history[-1][0] in ranked.item_ids for history, ranked in zip(visits, lists, strict=True)]))


def test_lists_are_for_what_is_asked_for(serving: Serving) -> None:
    """Ten places and ten things of each kind in the topic: all of one kind if that is asked for, next to none else."""
    for wanted, other in (("click", "purchase"), ("purchase", "click")):
        assert recall(serving, wanted, wanted) > 0.9
        assert recall(serving, wanted, other) < 0.1


def test_without_a_known_intent_lists_are_for_the_first_type_that_was_learned(serving: Serving) -> None:
    """Nobody put anything into a cart: whoever asks for that, or for nothing, gets lists to click."""
    for intent in (None, "cart", "marry"):
        assert recall(serving, "click", intent) == recall(serving, "click", "click")


def test_the_network_turns_the_user_vector(serving: Serving) -> None:
    """Of the nearest vectors alone more are things to buy if that is asked for."""
    snapshot = serving.snapshot
    assert snapshot is not None
    shares = []
    for kind in ("click", "purchase"):
        asked = [Query([f"click-{topic}-0"], ["click"], [0], 0, intent=kind) for topic in range(TOPICS)]
        batch = snapshot.histories(asked)
        users = snapshot.encoder.encode(batch.rows, batch.types, batch.times, batch.starts, batch.intents)
        rows, _ = snapshot.vectors.search(users, EACH)
        near = [snapshot.vocabulary.ids[row] for row in rows.ravel().tolist()]
        shares.append(float(np.mean([name.startswith("purchase") for name in near])))
    assert shares[1] > shares[0] + 0.3


def test_ranker_and_memories_know_the_intent_without_the_network(serving: Serving) -> None:
    """With no intent in the user vector, lists to buy still hold what is bought."""
    snapshot = serving.snapshot
    assert snapshot is not None
    parameters = snapshot.encoder.arrays()
    parameters["intents"] = np.zeros_like(parameters["intents"])
    blind = replace(snapshot, encoder=HistoryEncoder(parameters, snapshot.item_vectors))
    other = Serving(blind, Catalogue(), LivePopularity())
    assert recall(other, "purchase", "purchase") > recall(other, "purchase", "click") + 0.5


def test_the_judge_asks_for_one_intent_whatever_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The type of an event is not known before it has come: held-out purchases are asked for as clicks are."""
    asked: list[int] = []

    def spy(snapshot: Snapshot, batch: HistoryBatch, targets: np.ndarray) -> np.ndarray:
        asked.extend(batch.intents.tolist())
        return np.zeros(len(targets), np.int64)

    monkeypatch.setattr(judging, "ranks", spy)
    for intent, code in (("click", 0), ("purchase", 2)):
        asked.clear()
        learned_from(60, intent)
        assert asked and set(asked) == {code}
