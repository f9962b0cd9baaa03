"""A micro-batch between its two halves: made, and not yet delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stream.knowledge.serving import RankedList, Serving
from stream.worker.batch import DeadLetter, Touched
from stream.worker.outbox import Outbox
from stream.worker.requests import Replied
from stream.worker.scoring import Score

Rows = dict[int, dict[bytes, bytes]]  # encoded state by partition and user


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a micro-batch has come to, and the records that say so."""

    generation: int  # of the group, under which its records were taken
    serving: Serving  # that its lists were made by
    outbox: Outbox
    rows: Rows  # of the users whose state has changed
    touched: Sequence[Touched]
    lists: Sequence[RankedList]  # one for each of them
    dead: Sequence[DeadLetter]  # events
    replied: Replied
    scored: Score
