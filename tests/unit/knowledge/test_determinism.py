"""One seed gives one artifact: the same log, settings and seed give the same lists, in any process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.learning import learn
from stream.knowledge.serving import LivePopularity, Query, Serving
from stream.knowledge.snapshot import Snapshot
from stream.knowledge.threads import use_threads
from stream.wire.messages import Item
from tests.rings import HOUR, SMALL, TYPES, walk, walked

ROOT = Path(__file__).parents[3]
ITEMS = 40


def learned_twice(seed: int) -> Snapshot:
    """A first artifact and its child, of items with words and of events of several types."""
    catalogue = Catalogue()
    for row in range(ITEMS + 5):
        content = Item(f"i{row}", title=f"thing number {row}", category=[f"part{row % 4}"], brand=f"maker{row % 7}")
        catalogue.apply(0, row, f"i{row}", content)
    window, parent, known = walked(300, items=ITEMS), None, 0
    for name in ("a1", "a2"):
        for user in range(0, 60, 3):
            window.append(f"u{user}", f"i{user % ITEMS}", "purchase", 400 * HOUR + user)
        parent = learn(
            window,
            catalogue,
            parent,
            artifact_id=name,
            event_types=TYPES,
            model=SMALL,
            seed=seed,
            new_events=len(window) - known,
        ).snapshot
        known = len(window)
        walk(window, range(500, 600), items=ITEMS)
    assert parent is not None
    return parent


def told(seed: int) -> str:
    """What the child lists for everybody who touched an item or two, with scores to the last bit."""
    use_threads(1)
    snapshot = learned_twice(seed)
    serving = Serving(snapshot, Catalogue(), LivePopularity())
    pairs = [(first, second) for first in range(ITEMS) for second in (first + 1, first + 7)]
    queries = [Query([f"i{a}", f"i{b % ITEMS}"], ["click", "cart"], [0, HOUR], HOUR) for a, b in pairs]
    found = [(ranked.item_ids, [score.hex() for score in ranked.scores]) for ranked in serving.recommend(queries)]
    return json.dumps([snapshot.parent, found])


def in_another_process(hash_seed: str, seed: int) -> str:
    command = f"from tests.unit.knowledge.test_determinism import told; print(told({seed}))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_two_processes_make_the_same_lists() -> None:
    """Whatever order sets of text have in them; another seed makes other lists, so the comparison can fail."""
    one, two, other = in_another_process("1", 3), in_another_process("2", 3), in_another_process("1", 4)
    assert json.loads(one)[0] == "a1"
    assert one == two
    assert one != other
