"""What is asked of an evaluation."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from stream.settings import ModelSettings, RecommendSettings
from stream.wire.event_types import EventTypes
from stream.wire.messages import NO_FILTERS, Filters

TRAINED = {"full", "neural", "frozen"}  # recommenders that need more than counting

Progress = Callable[[str, float], None]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Plan:
    """The recommender `model` and those it is held `against`. `clock` gives seconds, for the report's `seconds` alone.

    `sample` is the share of users asked for; `hide_items` the share of items of which nothing is ever learned
    (`leave-last-out`).
    """

    model: str
    against: Sequence[str]
    cutoffs: Sequence[int]
    sample: float
    seed: int
    event_types: EventTypes
    settings: ModelSettings
    window_events: int
    clock: Clock
    progress: Progress = lambda _what, _done: None
    hide_items: float = 0.0
    intent: str | None = None  # of all queries: what kind of event comes next is not known before it has come
    filters: Filters = NO_FILTERS  # of all queries
    recommend: RecommendSettings = field(
        default_factory=RecommendSettings
    )  # the kept places of lists, and what they are drawn by

    @property
    def names(self) -> list[str]:
        """All recommenders, the model first."""
        return list(dict.fromkeys((self.model, *self.against)))

    def tested(self, user_id: str) -> bool:
        """Whether a user is in the sample: by a hash of the id, so that it is the same in every run."""
        return zlib.crc32(f"{self.seed}:{user_id}".encode()) < self.sample * 2**32

    def hidden(self, item_id: str) -> bool:
        """Whether nothing is ever learned of an item: by a hash of the id, too."""
        return zlib.crc32(f"{self.seed}:item:{item_id}".encode()) < self.hide_items * 2**32

    def learning_settings(self) -> ModelSettings:
        """The model's settings, without any training where nobody asks what was trained."""
        if (self.model in TRAINED and self.model != "frozen") or {*self.against} & {"full", "neural"}:
            return self.settings
        return msgspec.structs.replace(self.settings, first_epochs=0, epochs=0, ranker_queries=0, held_out=0.0)
