"""Content finds items by their words: held to a brute-force TF-IDF over strings, and to planted likenesses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from indexing.histories import HistoryBatch, Interactions
from indexing.source import Contents
from indexing.sources.content import LAST_WEIGHTS, NEIGHBOURS, Content

NOBODY = Interactions.of([], [], [])


def contents_of(*texts: str) -> Contents:
    """Words numbered as they come."""
    numbers: dict[str, int] = {}
    lists = [[numbers.setdefault(word, len(numbers)) for word in text.split()] for text in texts]
    starts = np.cumsum([0, *map(len, lists)])
    return Contents(np.array([word for words in lists for word in words], np.int32), starts)


def built(*texts: str) -> Content:
    return Content.build(NOBODY, len(texts), contents_of(*texts))


def cosine(texts: list[str], a: int, b: int) -> float:
    """TF-IDF with binary counts and log((1 + N) / (1 + df)) + 1, from the strings, word by word."""
    standing_in = {word: sum(word in text.split() for text in texts) for text in texts for word in text.split()}
    weight = {word: math.log((1 + len(texts)) / (1 + count)) + 1 for word, count in standing_in.items()}
    norms = [math.sqrt(sum(weight[word] ** 2 for word in set(texts[at].split()))) for at in (a, b)]
    common = set(texts[a].split()) & set(texts[b].split())
    return sum(weight[word] ** 2 for word in common) / (norms[0] * norms[1])


def test_scores_are_squared_cosines_of_rare_words() -> None:
    """Fifty random texts, every pair: what is found and how it scores is what the strings say."""
    rng = np.random.default_rng(4)
    texts = [" ".join(f"w{word}" for word in rng.zipf(1.5, 6).clip(1, 40)) for _ in range(50)]
    rows, scores = built(*texts).candidates(HistoryBatch.of([[at] for at in range(50)]), 50)
    for item in range(50):
        expected = sorted((cosine(texts, item, other) ** 2 for other in range(50) if other != item), reverse=True)
        likes = [score for score in expected[:NEIGHBOURS] if score > 0]
        assert scores[item][: len(likes)].tolist() == pytest.approx(likes, abs=1e-5)
        for row, score in zip(rows[item].tolist(), scores[item].tolist(), strict=True):
            assert row < 0 or score == pytest.approx(cosine(texts, item, row) ** 2, abs=1e-5)


def test_items_that_nobody_touched_are_found() -> None:
    """There is not one event: the other mug comes after a mug, and nothing after what shares no word."""
    rows, _ = built("red mug", "blue mug", "garden chair", "lamp").candidates(HistoryBatch.of([[0], [3]]), 3)
    assert rows.tolist() == [[1, -1, -1], [-1, -1, -1]]


def test_the_newest_item_speaks_loudest() -> None:
    """Last a chair, before that a mug, one like of each: scores are their squared cosines, weighted 1 and 0.8."""
    texts = ["mug tea", "mug pot", "chair wood", "chair oak"]
    rows, scores = built(*texts).candidates(HistoryBatch.of([[0, 2]]), 2)
    assert rows.tolist() == [[3, 1]]
    expected = [cosine(texts, 2, 3) ** 2, LAST_WEIGHTS[1] * cosine(texts, 0, 1) ** 2]
    assert scores[0].tolist() == pytest.approx(expected, rel=1e-5)


def test_equally_like_items_take_turns() -> None:
    """A hundred items with the same words: each is a neighbour of as many as it has neighbours."""
    source = built(*["thing of wood"] * 100)
    assert np.bincount(source.rows, minlength=100).tolist() == [NEIGHBOURS] * 100


def test_without_words_there_is_nothing_to_find() -> None:
    """No contents, and contents without a word: empty lists."""
    for contents in (None, contents_of("", "", "")):
        rows, scores = Content.build(NOBODY, 3, contents).candidates(HistoryBatch.of([[0, 1, -1]]), 2)
        assert (rows == -1).all()
        assert not scores.any()


def test_it_survives_its_arrays() -> None:
    """What comes back finds the same."""
    source = built("a b", "b c", "c d", "d a")
    batch = HistoryBatch.of([[0], [3, 2], []])
    again = Content.from_arrays(source.arrays(), 4)
    for mine, theirs in zip(again.candidates(batch, 5), source.candidates(batch, 5), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    "damage", [{"rows": [7, 7]}, {"starts": [0, 1, 1, 1]}, {"scores": [1.0]}], ids=["row", "starts", "scores"]
)
def test_damaged_arrays_are_refused(damage: dict[str, list[float]]) -> None:
    """A row that is none, lists outside their array, too few scores."""
    arrays = built("a", "a", "b").arrays()
    for name, values in damage.items():
        arrays[name] = np.array(values, arrays[name].dtype)
    with pytest.raises(ValueError):
        Content.from_arrays(arrays, 3)
