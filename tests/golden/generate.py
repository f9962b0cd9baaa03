"""Makes the committed sample artifact of the present format version: `python -m tests.golden.generate`.

Run it once for a new format version, before its first release, and commit what it writes beside the older ones, which
stay as they are for ever. What users click is planted: users of a group click the items of their group and no others.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.learning import learn
from stream.knowledge.store import ArtifactStore
from stream.knowledge.window import Window
from stream.settings import ModelSettings, Settings
from stream.trainer.building import catalogue_position, draft_manifest, event_window, publish
from stream.wire.messages import Item

PLACE = Path(__file__).parent / "samples"
GROUPS, PER_GROUP, USERS, EVENTS = 4, 3, 40, 600
START = 1_795_435_200_000  # 2026-11-23T12:00:00Z
TINY = ModelSettings(dimensions=8, length=8, inner=8, token_buckets=32, negatives=32)


def main() -> None:
    """Learns from the planted clicks and publishes into PLACE."""
    settings = Settings(model=TINY)
    types, rng = settings.event_types(), np.random.default_rng(1)
    window, catalogue = Window(types.names), Catalogue()
    for number in range(GROUPS * PER_GROUP):
        group = f"group{number // PER_GROUP}"
        item = Item(f"i{number}", title=f"{group} thing", category=["all", group], brand="Acme", price=2.5 + number)
        catalogue.apply(0, number, item.item_id, item)
    for offset in range(EVENTS):
        user = int(rng.integers(USERS))
        number = (user % GROUPS) * PER_GROUP + int(rng.integers(PER_GROUP))
        window.append(f"u{user}", f"i{number}", "click", START + 1000 * offset, None, 0, offset)
    learned = learn(
        window, catalogue, None, artifact_id="sample", event_types=types, model=TINY, seed=7, new_events=EVENTS
    )
    draft = draft_manifest(
        learned, event_window(window, {0: EVENTS}, settings), catalogue_position(catalogue.position, settings), settings
    )
    store = ArtifactStore(str(PLACE), PLACE / "cache")
    created = START + 1000 * EVENTS
    publish(store, learned.snapshot, catalogue, draft, created=created, progress=lambda _stage, _done: None)


if __name__ == "__main__":
    main()
