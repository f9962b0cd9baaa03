"""What is bought again and what is not: rates counted by hand, and lists that follow them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
import pytest

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.files import read_snapshot, write_snapshot
from stream.knowledge.learning import learn
from stream.knowledge.popularity import LivePopularity
from stream.knowledge.repurchase import PRIOR, RARE, STRENGTH
from stream.knowledge.serving import Query, Serving
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.store import ArtifactStore
from stream.knowledge.window import Window
from stream.settings import ModelSettings, Settings
from stream.wire.messages import Filters, Item
from tests.artifacts import drafted
from tests.worlds import catalogue_of

TYPES = Settings().event_types()
SMALL = ModelSettings(dimensions=16, length=10, inner=16, token_buckets=64, negatives=32, first_epochs=1)
HOUR = 3_600_000
CATEGORIES: Mapping[str, Sequence[str]] = {
    "espresso": ["food", "coffee"],
    "filter": ["food", "coffee"],
    "sofa": ["home", "sofas"],
    "couch": ["home", "sofas"],
    "lamp": ["home", "lamps"],
    "gift": [],
}
CATALOGUE = catalogue_of(*(Item(name, category=list(path) or None) for name, path in CATEGORIES.items()))


def bought(*purchases: tuple[str, str, int], kind: str = "purchase") -> Window:
    """Purchases of (user, item, hour), each hour a session."""
    window = Window(TYPES.names)
    for user, item, hour in purchases:
        window.append(user, item, kind, hour * HOUR, offset=len(window))
    return window


def half(first: int) -> list[tuple[str, str, int]]:
    """Four people buy espresso every hour for five hours; a hundred others buy a sofa each."""
    coffee = [(f"c{user}", "espresso", first + hour) for hour in range(5) for user in range(4)]
    return coffee + [(f"s{first}-{user}", "sofa", first + 5 + user % 3) for user in range(100)]


def coffee_and_sofas() -> Window:
    """The same people go on drinking coffee, other people buy sofas."""
    return bought(*half(0), *half(10))


def snapshot_of(window: Window, catalogue: Catalogue = CATALOGUE) -> Snapshot:
    return learn(
        window, catalogue, None, artifact_id="a1", event_types=TYPES, model=SMALL, seed=1, new_events=len(window)
    ).snapshot


def rates(snapshot: Snapshot) -> dict[str, float]:
    return dict(zip(snapshot.vocabulary.ids, snapshot.repurchase.tolist(), strict=True))


@pytest.fixture(scope="module")
def learned() -> Snapshot:
    return snapshot_of(coffee_and_sofas())


def test_rates_are_counts_joined_by_the_wider_categories(learned: Snapshot) -> None:
    """In the newest half 20 purchases of coffee, all repeats, and 100 of sofas, none: each level leans on the one
    above by 20.
    """
    prior, strength = Fraction(1, 10), 20
    assert (PRIOR, STRENGTH) == (0.1, 20.0)
    everything = (20 + strength * prior) / (120 + strength)
    food = (20 + strength * everything) / (20 + strength)
    home = (0 + strength * everything) / (100 + strength)
    coffee = (20 + strength * food) / (20 + strength)
    sofas = (0 + strength * home) / (100 + strength)
    assert (everything, coffee, sofas) == (Fraction(11, 70), Fraction(221, 280), Fraction(11, 2520))
    expected = {"espresso": coffee, "filter": coffee, "sofa": sofas, "couch": sofas, "lamp": home, "gift": everything}
    assert rates(learned) == pytest.approx({name: float(rate) for name, rate in expected.items()})


def test_twice_in_one_visit_is_one_purchase_and_clicks_are_none() -> None:
    """Three lines of one receipt are no re-purchase; without purchases all stays at the prior."""
    receipt = [("u", "gift", 0)] * 3
    assert rates(snapshot_of(bought(*receipt)))["gift"] == pytest.approx((2 / 21 * 20) / 21)
    assert rates(snapshot_of(bought(*receipt, kind="click")))["gift"] == pytest.approx(0.1)


def test_little_evidence_leaves_nothing_out() -> None:
    """Five gifts that nobody bought twice are not yet a reason, thirty are."""
    assert rates(snapshot_of(bought(*((f"u{at}", "gift", at) for at in range(5)))))["gift"] >= RARE
    assert rates(snapshot_of(bought(*((f"u{at}", "gift", at) for at in range(30)))))["gift"] < RARE


Exclude = bool | Literal["auto"] | None


def listed(snapshot: Snapshot | None, exclude: Exclude, items: Sequence[str] = ("espresso", "sofa")) -> list[str]:
    """The list of a buyer of these items."""
    serving = Serving(snapshot, CATALOGUE, LivePopularity())
    kinds, times = ["purchase"] * len(items), [HOUR * step for step in range(len(items))]
    filters = Filters(exclude_purchased=exclude)
    query = Query(items, kinds, times, times[-1], count=10, filters=filters, purchased=items)
    return serving.recommend([query])[0].item_ids


@pytest.mark.parametrize(
    ("exclude", "left_out"),
    [("auto", {"sofa"}), (True, {"sofa", "espresso"}), (False, set()), (None, set())],
)
def test_lists_leave_out_what_is_rarely_bought_again(learned: Snapshot, exclude: Exclude, left_out: set[str]) -> None:
    """Automatically the sofa and not the coffee; a yes or a no overrides what was learned."""
    assert set(CATEGORIES) - set(listed(learned, exclude)) == left_out


def test_automatically_nothing_is_left_out_before_anything_is_known() -> None:
    """Without an artifact a list holds what was bought."""
    assert {"espresso", "sofa"} <= set(listed(None, "auto"))
    assert not {"espresso", "sofa"} & set(listed(None, True))


def test_somebody_unknown_to_the_artifact_is_treated_alike(learned: Snapshot) -> None:
    """Bought sofas beyond the history are left out of popular lists and of similar items, too."""
    filters = Filters(exclude_purchased="auto")
    serving = Serving(learned, CATALOGUE, LivePopularity())
    (popular,) = serving.recommend([Query((), (), (), 0, filters=filters, purchased=["sofa", "espresso"])])
    assert popular.fallback == "unknown_user"
    for found in (popular, serving.similar("couch", 10, filters, ["sofa", "espresso"])):
        assert "sofa" not in found.item_ids and "espresso" in found.item_ids


def test_items_newer_than_the_artifact_are_kept(learned: Snapshot) -> None:
    """Nothing is known of them until the next refresh."""
    serving = Serving(learned, catalogue_of(Item("fresh", category=["home", "sofas"])), LivePopularity())
    query = Query(["fresh"], ["purchase"], [0], 0, 10, Filters(exclude_purchased="auto"), ["fresh"])
    assert "fresh" in serving.recommend([query])[0].item_ids


def test_a_list_is_the_same_from_the_files(learned: Snapshot, store: ArtifactStore) -> None:
    """Rates are part of the artifact: whoever replays a list from it leaves out the same items."""
    with store.building() as directory:
        write_snapshot(learned, CATALOGUE, directory)
        again = read_snapshot(directory, drafted(learned))
    np.testing.assert_array_equal(again.repurchase, learned.repurchase)
    assert listed(again, "auto") == listed(learned, "auto")
