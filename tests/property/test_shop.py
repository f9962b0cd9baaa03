"""The simulated shop and the replay's order, over random inputs."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from stream.shop.delivery import OutgoingEvent
from stream.shop.interactions import Interaction
from stream.shop.log_file import by_time
from stream.shop.shoppers import Crowd, ShownList
from stream.shop.world import World

START = 1_700_000_000_000


def walk(seed: int, steps: int, run: str = "run", items: int = 400) -> tuple[World, list[OutgoingEvent]]:
    world = World(seed, items=items, users=60)
    crowd = Crowd(world, seed, run)
    return world, [crowd.step(START + 40 * step, {}) for step in range(steps)]


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_the_seed_makes_the_shop(seed: int) -> None:
    """The same seed gives the same goods and the same events; another run id changes the ids of events alone."""
    world, events = walk(seed, 200)
    again, others = walk(seed, 200, run="other")
    assert [good.item for good in world.goods] == [good.item for good in again.goods]
    assert [(e.user_id, e.item_id, e.event_type) for e in events] == [
        (e.user_id, e.item_id, e.event_type) for e in others
    ]
    ids = [event.event_id for event in events]
    assert len(set(ids)) == len(ids)
    assert not set(ids) & {event.event_id for event in others}


@given(seed=st.integers(0, 10_000))
@settings(max_examples=5, deadline=None)
def test_planted_complements_appear_in_the_events(seed: int) -> None:
    """After an item that was clicked often, its four planted complements make a third or more of the next clicks."""
    world, events = walk(seed, 6_000)
    last: dict[str, str] = {}
    following: dict[str, Counter[str]] = defaultdict(Counter)
    for event in events:
        if event.event_type != "click":
            continue
        key = event.session_id or ""
        if key in last:
            following[last[key]][event.item_id] += 1
        last[key] = event.item_id
    often = [item for item, after in following.items() if after.total() >= 20]
    planted = sum(
        following[item][world.goods[number].item.item_id]
        for item in often
        for number in world.complements[world.numbers[item]]
    )
    assert often
    assert planted / sum(following[item].total() for item in often) > 1 / 3


@given(seed=st.integers(0, 10_000))
@settings(max_examples=5, deadline=None)
def test_items_not_yet_on_sale_are_not_touched(seed: int) -> None:
    """Nobody meets an item before it is released, and deeds follow each other: no purchase without a cart before."""
    world, events = walk(seed, 1_500)
    assert max(world.numbers[event.item_id] for event in events) < world.on_sale_at_first
    before: dict[str | None, OutgoingEvent] = {}
    for event in events:
        if event.event_type in ("purchase", "remove"):
            assert (before[event.session_id].event_type, before[event.session_id].item_id) == ("cart", event.item_id)
        before[event.session_id] = event


def test_a_fitting_offer_is_taken_up_and_named() -> None:
    """Shoppers shown the complements of what they look at take some, and their events name the list that led there."""
    world = World(3, items=400, users=60)
    crowd = Crowd(world, 3, "run")
    shown: dict[str, ShownList] = {}
    taken = []
    for step in range(3_000):
        event = crowd.step(START + 40 * step, shown)
        if event.recommendation_id is not None:
            taken.append(event)
            assert event.recommendation_id.startswith(event.user_id)
        offers = [world.goods[number].item.item_id for number in world.complements[world.numbers[event.item_id]]]
        shown[event.user_id] = ShownList(f"{event.user_id}-{step}", offers)
    assert len(taken) > 100


@given(times=st.lists(st.integers(0, 50), max_size=200), run=st.integers(1, 30))
def test_sorting_in_runs_is_a_stable_sort(times: list[int], run: int) -> None:
    """Sorting through temporary files gives what sorting in memory gives: by time, ties in the file's order."""
    events = [Interaction("u", "i", "click", time, event_id=str(place)) for place, time in enumerate(times)]
    assert list(by_time(events, run)) == sorted(events, key=lambda event: event.timestamp)
