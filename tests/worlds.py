"""Small worlds with a planted structure, for tests of retrieval: real parts, nothing trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexing.candidates import feature_names
from indexing.habits import Habits
from indexing.histories import Interactions
from indexing.source import Source
from indexing.sources import source
from indexing.trending import Trending
from indexing.vectors import VectorIndex
from indexing.wanted import Wanted
from models.encoder import HistoryEncoder
from models.features import ItemContent, featurise
from models.network import initial_parameters
from models.ranker import Ranker
from models.tower import ItemTower
from models.vocabulary import Vocabulary
from stream.knowledge.catalogue import Catalogue
from stream.knowledge.serving import Query
from stream.knowledge.snapshot import Snapshot
from stream.wire.messages import NO_FILTERS, Filters, Item

MEMORIES = ("sessions", "covisitation")
TYPES = ("click", "cart", "purchase", "remove", "dislike")
HOUR = 3_600_000
DIMENSIONS = 16
WEIGHTS = {
    "sessions_score": 1.0,
    "covisitation_score": 1.0,
    "ann_score": 0.5,
    "similarity": 0.5,
    "popularity_week": 0.1,
}


def sessions_of(*sessions: Sequence[int], start: int = 0) -> Interactions:
    """Interactions of sessions one after another, each of its own user, one minute a step, an hour between sessions."""
    users, items, times = [], [], []
    for number, session in enumerate(sessions):
        for step, row in enumerate(session):
            users.append(number)
            items.append(row)
            times.append(start + number * HOUR + step * 60_000)
    return Interactions.of(users, items, times)


def category_of(row: int, topics: int) -> str:
    """The topic of an item: a word that is its category and in its title."""
    return f"topic{row % topics}"


def content(row: int, topics: int) -> ItemContent:
    """What the tower knows of an item of the small world: its topic, and nothing of its own."""
    topic = category_of(row, topics)
    return ItemContent(title=f"{topic} thing", category=[topic], brand=None, price=None)


def item(row: int, topics: int, **changes: object) -> Item:
    """The catalogue's record of an item of the small world, named i<row>."""
    known = content(row, topics)
    values = {"item_id": f"i{row}", "title": known.title, "category": list(known.category)} | changes
    return Item(**values)  # type: ignore[arg-type]


def memories_of(interactions: Interactions, count: int) -> dict[str, Source]:
    """The memories of the small world."""
    return {name: source(name).build(interactions, count) for name in MEMORIES}


def small_snapshot(
    interactions: Interactions, count: int, *, topics: int = 5, artifact_id: str = "a1", flat_below: int = 5_000
) -> Snapshot:
    """A snapshot over items i0..i<count-1> with vectors that are pure content: items of a topic are alike."""
    rng = np.random.default_rng(11)
    tower = ItemTower(
        np.zeros((count, DIMENSIONS)), rng.normal(size=(512, DIMENSIONS)), np.zeros((48, DIMENSIONS)), halfway=5.0
    )
    counts = np.bincount(interactions.items, minlength=count).astype(np.float32)
    vectors = tower.encode_items(counts, featurise([content(row, topics) for row in range(count)], 512))
    parameters = initial_parameters(dimensions=DIMENSIONS, heads=2, length=50, inner=32, types=len(TYPES), seed=3)
    end = int(interactions.times.max(initial=0))
    return Snapshot(
        artifact_id,
        None,
        7,
        Vocabulary(f"i{row}" for row in range(count)),
        vectors,
        counts,
        HistoryEncoder(parameters, vectors),
        tower,
        VectorIndex.build(vectors, flat_below=flat_below, seed=1),
        memories_of(interactions, count),
        Trending.build(interactions, count, end),
        Wanted.build(interactions, count, len(TYPES), end),
        Ranker.untrained(np.array([WEIGHTS.get(name, 0.0) for name in feature_names(MEMORIES)])),
        TYPES,
        ("dislike",),
        np.ones(count, np.float32),
        Habits.build(interactions, count),
    )


def random_sessions(count: int, sessions: int, seed: int, topics: int = 5) -> Interactions:
    """Sessions that mostly stay within a topic, with popular and unpopular items."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(sessions):
        topic = int(rng.integers(topics))
        inside = np.arange(topic, count, topics)
        popularity = 1.0 / (1.0 + np.arange(len(inside)))
        made.append(rng.choice(inside, size=int(rng.integers(2, 8)), p=popularity / popularity.sum()).tolist())
    return sessions_of(*made)


def catalogue_of(*items: Item) -> Catalogue:
    """A catalogue with these items, read from partition 0."""
    catalogue = Catalogue()
    for offset, record in enumerate(items):
        catalogue.apply(0, offset, record.item_id, record)
    return catalogue


def clicked(
    *names: str,
    types: Sequence[str] | None = None,
    count: int = 20,
    filters: Filters = NO_FILTERS,
    explain: bool = False,
) -> Query:
    """A query of a user who clicked these items, a minute apart; what was bought is what the types say."""
    kinds = ["click"] * len(names) if types is None else list(types)
    times = [HOUR * 100 + 60_000 * step for step in range(len(names))]
    bought = [name for name, kind in zip(names, kinds, strict=True) if kind == "purchase"]
    return Query(names, kinds, times, times[-1] if times else 0, count, filters, bought, explain)
