"""Lists with places for cold items: what is drawn, how often, and that the chances reported are the real ones."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
import pytest

from indexing.columns import NEW
from indexing.lists import EVEN_SHARE, SHORTEST, TEMPERATURE, best_of_lists


class Lists(NamedTuple):
    """B lists of M candidates: `places` (B, K), `chances` (B, K), `drawn` (B,), `scores` and `sources` (B, M)."""

    places: np.ndarray
    chances: np.ndarray
    drawn: np.ndarray
    scores: np.ndarray
    sources: np.ndarray


def lists_of(scores: list[float], cold: set[int], *, slots: int, count: int = 20, lots: int = 1) -> Lists:
    """So many lists of one set of candidates, each with a lot of its own; positions are numbers of candidates."""
    size = len(scores)
    starts = np.arange(lots + 1) * size
    all_scores = np.tile(np.array(scores, np.float32), lots)
    is_cold = np.tile(np.array([number in cold for number in range(size)]), lots)
    numbers = np.random.default_rng(1).integers(0, 2**63, lots).astype(np.uint64)
    sources = np.zeros(len(all_scores), np.uint16)
    places, drawn = np.full((lots, count), -1, np.int64), np.zeros(lots, np.int64)
    chances = np.zeros((lots, count), np.float32)
    keys = np.tile(np.arange(size), lots)
    best_of_lists(
        keys, all_scores, starts, np.full(lots, count), is_cold, slots, numbers, sources, (places, chances, drawn)
    )
    shape = (lots, size)
    numbered = np.where(places >= 0, places - starts[:-1, None], -1)
    return Lists(numbered, chances, drawn, all_scores.reshape(shape), sources.reshape(shape))


def falling(size: int) -> list[float]:
    """Scores 0, -0.1, -0.2 ...: candidate n is of rank n."""
    return [-0.1 * number for number in range(size)]


def chances_of_place(scores: list[float], drawn_from: list[int]) -> dict[int, float]:
    """The softmax that the docstring promises, mixed with even chances."""
    strengths = {number: np.exp(scores[number] / TEMPERATURE) for number in drawn_from}
    total = sum(strengths.values())
    return {n: (1 - EVEN_SHARE) * s / total + EVEN_SHARE / len(drawn_from) for n, s in strengths.items()}


def all_lists(scores: list[float], cold: set[int], slots: int, count: int) -> dict[tuple[int, ...], float]:
    """Every list that there can be and its probability, by going through all draws (ranks are numbers)."""
    pool = [number for number in sorted(cold) if number >= SHORTEST - slots]
    groups = [chances_of_place(scores, pool[place::slots]) for place in range(slots)]
    found: dict[tuple[int, ...], float] = {}
    for draw in product(*groups):
        above = list(range(SHORTEST - slots))
        rest = [number for number in range(SHORTEST - slots, len(scores)) if number not in draw]
        listed = tuple([*above, *draw, *rest][:count])
        found[listed] = found.get(listed, 0.0) + float(np.prod([groups[n][chosen] for n, chosen in enumerate(draw)]))
    return found


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_chances_are_those_of_all_lists_there_can_be(slots: int) -> None:
    """Thirty candidates, cold ones above, in and behind the list: for every item drawn into a place, and for every one
    that comes in at the end because others moved up, the reported chance is the share of all possible lists that have
    it so; and the lists that are made are among the possible ones.
    """
    scores, cold, count = falling(30), {2, 11, 13, 17, 18, 19, 21, 25, 29}, 20
    possible = all_lists(scores, cold, slots, count)
    slot_places = range(SHORTEST - slots, SHORTEST)
    made = lists_of(scores, cold, slots=slots, count=count, lots=300)
    for places, chances in zip(made.places.tolist(), made.chances.tolist(), strict=True):
        assert tuple(places) in possible
        for place, (number, chance) in enumerate(zip(places, chances, strict=True)):
            if place in slot_places:
                real = sum(share for listed, share in possible.items() if listed[place] == number)
            else:
                free = [place for place in range(count) if place not in slot_places]
                real = sum(
                    share
                    for listed, share in possible.items()
                    if number in [listed[at] for at in free]
                    or (number in [listed[at] for at in slot_places] and number < count - slots)
                )
            assert chance == pytest.approx(real, abs=1e-5)


@pytest.mark.parametrize(("slots", "critical"), [(1, 26.12), (2, 26.12)])
def test_items_are_drawn_as_often_as_their_chances_say(slots: int, critical: float) -> None:
    """Twenty thousand lots over nine cold candidates: chi-square of the counts against the reported chances.

    26.12 is the 0.999 quantile with eight degrees of freedom, more than either number of places has.
    """
    cold = {11, 13, 17, 18, 19, 21, 25, 27, 29}
    made = lists_of(falling(30), cold, slots=slots, lots=20_000)
    for place in range(SHORTEST - slots, SHORTEST):
        chances = dict(zip(made.places[:, place].tolist(), made.chances[:, place].tolist(), strict=True))
        assert sum(chances.values()) == pytest.approx(1.0, abs=1e-5)
        observed = np.array([np.count_nonzero(made.places[:, place] == number) for number in chances])
        expected = 20_000 * np.array(list(chances.values()))
        assert float(((observed - expected) ** 2 / expected).sum()) < critical
    assert made.drawn.tolist() == [slots] * 20_000


def test_without_cold_candidates_a_list_is_the_best_in_order() -> None:
    """Nothing is drawn, everything is certain; nor is anything drawn in a list of nine, or where no place is kept."""
    for made in (
        lists_of(falling(30), set(), slots=2),
        lists_of(falling(30), {11, 15}, slots=2, count=9),
        lists_of(falling(30), {11, 15}, slots=0),
    ):
        count = made.places.shape[1]
        assert made.places[0].tolist() == list(range(count))
        assert made.chances[0].tolist() == [1.0] * count
        assert made.drawn[0] == 0
        assert not made.sources.any()


def test_one_cold_candidate_fills_one_place() -> None:
    """Two places are kept and one candidate is there for them: it takes the tenth place for certain, nobody twice."""
    made = lists_of(falling(30), {25}, slots=2)
    assert made.places[0].tolist() == [*range(9), 25, *range(9, 19)]
    assert made.chances[0].tolist() == [1.0] * 20
    assert made.drawn[0] == 1
    assert made.sources[0].nonzero()[0].tolist() == [25]
    assert made.sources[0, 25] == NEW


def test_a_cold_candidate_above_the_kept_places_stays_where_it_is() -> None:
    """Candidate 8 is the only cold one and of rank 8: with one place kept, the tenth, nothing changes; with two it is
    in one of them and drawn, as the only one there is.
    """
    assert lists_of(falling(30), {8}, slots=1).places[0].tolist() == list(range(20))
    made = lists_of(falling(30), {3, 8}, slots=2)
    assert sorted(made.places[0].tolist()) == list(range(20))


def test_scores_fall_all_the_same() -> None:
    """What was drawn takes a score between its neighbours', so that whoever sorts by score keeps the order."""
    made = lists_of(falling(40), {30, 33, 35, 38}, slots=2, lots=50)
    for places, scores in zip(made.places, made.scores, strict=True):
        assert (np.diff(scores[places]) <= 0).all()


def test_what_is_not_allowed_is_never_drawn() -> None:
    """Cold candidates scored -inf by a filter: only the other one comes."""
    scores = falling(30)
    for number in (21, 22, 23):
        scores[number] = -np.inf
    made = lists_of(scores, {21, 22, 23, 24}, slots=1, lots=500)
    assert set(made.places[:, SHORTEST - 1].tolist()) == {24}
