"""The ranker's compiled scores against its formula."""

from __future__ import annotations

import numpy as np
import pytest

from models.ranker import HIDDEN, LIMIT, Ranker


def a_ranker(count: int, *, trained: bool) -> Ranker:
    rng = np.random.default_rng(count)
    arrays = {name: rng.normal(size=count) for name in ("mean", "linear")}
    arrays |= {name: rng.normal(size=HIDDEN) for name in ("bias", "outer")}
    arrays |= {"scale": rng.uniform(0.5, 2.0, count), "inner": rng.normal(size=(HIDDEN, count))}
    return Ranker({**arrays, "trained": np.array([float(trained)])})


@pytest.mark.parametrize("count", [1, 15, 16, 50])
@pytest.mark.parametrize("trained", [False, True])
def test_scores_are_those_of_the_formula(count: int, *, trained: bool) -> None:
    """In double precision and plain numpy, whatever the number of features; features far out are cut off."""
    ranker = a_ranker(count, trained=trained)
    features = np.random.default_rng(7).normal(scale=9.0, size=(200, count)).astype(np.float32)
    a = {name: array.astype(np.float64) for name, array in ranker.arrays().items()}
    standard = np.clip((features - a["mean"]) / a["scale"], -LIMIT, LIMIT)
    expected = standard @ a["linear"]
    if trained:
        expected += np.maximum(standard @ a["inner"].T + a["bias"], 0.0) @ a["outer"]
    np.testing.assert_allclose(ranker.score(features), expected, rtol=1e-3, atol=1e-3)


def test_a_score_does_not_depend_on_who_else_is_scored() -> None:
    """Alone, in few, in many and all together: equal to the last bit."""
    ranker = a_ranker(47, trained=True)
    features = np.random.default_rng(8).normal(size=(1_003, 47)).astype(np.float32)
    together = ranker.score(features)
    for size in (1, 5, 16, 100, 129, 300):
        parts = [ranker.score(features[at : at + size]) for at in range(0, len(features), size)]
        np.testing.assert_array_equal(np.concatenate(parts), together)


def test_any_number_of_hidden_units() -> None:
    """An artifact may have fewer than ours: the others count as if they were not there."""
    ranker = a_ranker(7, trained=True)
    features = np.random.default_rng(9).normal(size=(40, 7)).astype(np.float32)
    arrays = ranker.arrays()
    fewer = Ranker({**arrays, **{name: arrays[name][:-1] for name in ("inner", "bias", "outer")}})
    arrays["outer"] = np.append(arrays["outer"][:-1], 0.0)
    np.testing.assert_array_equal(fewer.score(features), Ranker(arrays).score(features))


def test_what_is_not_finite_stays_so() -> None:
    """A ranker with a parameter that is no number gives no scores that look like some: the gate must see it."""
    arrays = a_ranker(5, trained=True).arrays()
    arrays["linear"][2] = np.nan
    assert np.isnan(Ranker(arrays).score(np.ones((3, 5), np.float32))).all()
