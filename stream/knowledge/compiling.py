"""Compiles the code behind lists and refreshes ahead of time; what is compiled stays in Numba's cache on disk.

`python -m stream.knowledge.compiling` takes half a minute or so the first time, and seconds when everything is there.
"""

from __future__ import annotations

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.learning import learn
from stream.knowledge.serving import LivePopularity, Serving
from stream.knowledge.window import Window
from stream.settings import Settings
from stream.wire.messages import NO_FILTERS

USERS, ITEMS, EVENTS = 20, 30, 400  # enough for every part of a refresh to have something to do
MINUTE = 60_000


def compile_ahead() -> None:
    """Learns from a tiny made-up log and makes lists from it, which calls everything that is compiled once."""
    settings = Settings()
    types = settings.event_types()
    window = Window(types.names)
    for number in range(EVENTS):
        window.append(f"u{number % USERS}", f"i{number * 7 % ITEMS}", types.names[0], number * MINUTE, offset=number)
    catalogue = Catalogue()
    snapshot = None
    for refresh in range(2):  # the second has a parent, as all refreshes but the first
        learned = learn(
            window,
            catalogue,
            snapshot,
            artifact_id=f"compiling-{refresh}",
            event_types=types,
            model=settings.model,
            seed=1,
            new_events=EVENTS // 2,
        )
        snapshot = learned.snapshot
    serving = Serving(snapshot, catalogue, LivePopularity())
    serving.warm_up()
    serving.similar("i0", 10, NO_FILTERS)


if __name__ == "__main__":
    compile_ahead()
