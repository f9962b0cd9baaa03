"""What the trainer asks with is what a worker would have asked with: no skew between learning and serving."""

from __future__ import annotations

import numpy as np

from stream.knowledge.log import Log
from stream.knowledge.snapshot import LONGEST_HISTORY
from stream.knowledge.window import Window
from stream.settings import Settings
from stream.state.user_state import Stamped, UserState, advance
from stream.wire.event_types import PURCHASE
from stream.wire.messages import Event

TYPES = Settings().event_types()


def test_histories_and_purchases_are_those_of_the_users_states() -> None:
    """For every event of a random log: the history and what was bought before it, as the fold of states has them."""
    rng, window = np.random.default_rng(5), Window(TYPES.names)
    states: dict[str, UserState] = {}
    before: list[tuple[list[int], list[int]]] = []
    for at in range(900):
        user, item, kind = f"u{rng.integers(6)}", int(rng.integers(40)), TYPES.names[int(rng.integers(5))]
        state = states.setdefault(user, UserState())
        before.append(([int(name) for name in state.items], [int(name) for name in state.purchased]))
        advance(state, [Stamped(at, Event(user, str(item), kind, at * 1_000))])
        window.append(user, str(item), kind, at * 1_000, offset=at)
    rows = np.array([int(item_id) for item_id in window.item_ids], np.int32)
    log = Log.of(window, rows, TYPES.weights, 0, 10_000)
    asked = np.flatnonzero(log.earlier > 0)
    intents = np.zeros(len(asked), np.int8)
    batch = log.queries(asked, LONGEST_HISTORY, intents, TYPES.code(PURCHASE))
    for place, at in enumerate(asked.tolist()):
        history = batch.rows[batch.starts[place] : batch.starts[place + 1]].tolist()
        bought = batch.owned[batch.owned_starts[place] : batch.owned_starts[place + 1]].tolist()
        assert (history, bought) == before[at]
