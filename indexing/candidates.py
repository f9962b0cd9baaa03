"""Candidates: the union of what all sources found for each user, with the features that the ranker reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexing import union as kernel
from indexing.arrays import frozen
from indexing.histories import Floats, HistoryBatch, Int32s, Int64s

FEATURES: tuple[str, ...] = (
    "sessions_score",  # divided by the best of the list, 0 where the source did not find the item; so for the next ones
    "sessions_rank",  # 1 / (1 + place in the source's list)
    "covisitation_score",
    "covisitation_rank",
    "ann_score",
    "ann_rank",
    "agreement",  # of how many of these three sources the item came
    "similarity",  # cosine of user vector and item vector, for every candidate
    "similarity_last",  # cosine of the last item's vector and the item's
    "popularity_hour",  # log(1 + decayed count), half-life one hour of event time
    "popularity_day",
    "popularity_week",
    "count",  # log(1 + events of the item that the artifact knows)
    "is_last",  # the item of the user's last interaction
    "in_session",  # met in the current session (no pause of 30 minutes since)
    "times_in_history",
    "history_recency",  # 1 / (1 + interactions since the item's latest), 0 where there was none
    "hours_since",  # log(1 + hours since the item's latest interaction), 0 where there was none
    "purchased",  # the history holds a purchase of it
    "rejected",  # the item's latest interaction is a removal or a dislike
    "age",  # log(1 + days since the item's first event)
    "cold",  # 1 / sqrt(1 + events of the item)
    "history_length",  # log(1 + interactions), the same for all candidates of a list; so for the next one
    "session_length",
)
SOURCES: tuple[str, ...] = (
    "sessions",
    "covisitation",
    "ann",
    "recent",
    "trending",
    "new",
)  # bit i of `sources` is SOURCES[i]
RECENTS = 20


@dataclass(frozen=True)
class Found:
    """What one source found for B users: `rows` (B, k) best first, -1 behind the last, and their `scores` (B, k)."""

    rows: Int32s
    scores: Floats

    @classmethod
    def nothing(cls, users: int) -> Found:
        """Empty lists for so many users."""
        return cls(np.zeros((users, 0), np.int32), np.zeros((users, 0), np.float32))


@dataclass(frozen=True)
class ItemFacts:
    """What is known of items: `vectors` (N + E, D) normalised, of which the last E are newer than the artifact and have
    nothing else; `popularity` (N, 3) log(1 + decayed counts), `counts` (N,) events, `first_seen` (N,) epoch
    milliseconds.
    """

    vectors: Floats
    popularity: Floats
    counts: Floats
    first_seen: Int64s

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", frozen(self.vectors, np.float32))
        object.__setattr__(self, "popularity", frozen(self.popularity, np.float32))
        object.__setattr__(self, "counts", frozen(self.counts, np.float32))
        object.__setattr__(self, "first_seen", frozen(self.first_seen, np.int64))


@dataclass(frozen=True)
class Candidates:
    """Candidates of B users, M together: `rows` (M,), `starts` (B + 1,), `sources` (M,) bits, `features` (M, F)."""

    rows: Int32s
    starts: Int64s
    sources: npt.NDArray[np.uint8]
    features: Floats

    def users(self) -> Int64s:
        """The user (position in the batch) of each candidate, (M,)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


def kinds_of(event_types: Sequence[str]) -> npt.NDArray[np.uint8]:
    """What each event type means to features: a purchase, a rejection (`remove`, `dislike`) or neither, (types,)."""
    meaning = {"purchase": kernel.PURCHASE, "remove": kernel.NEGATIVE, "dislike": kernel.NEGATIVE}
    return np.array([meaning.get(name, kernel.POSITIVE) for name in event_types], np.uint8)


def union(
    batch: HistoryBatch,
    kinds: npt.NDArray[np.uint8],
    users: Floats,
    *,
    sessions: Found,
    covisitation: Found,
    ann: Found,
    new: Found,
    trending: Int32s,
    facts: ItemFacts,
    available: npt.NDArray[np.bool_],
) -> Candidates:
    """Joins the sources' lists (and each user's own recent items) to candidates, each item once a list.

    `users` (B, D) user vectors; `trending` rows for everybody; `available` (N + E,): rows that may be candidates.
    The order within a list is that of the sources, so it depends on nothing but the arguments.
    """
    room = sum(found.rows.shape[1] for found in (sessions, covisitation, ann, new)) + RECENTS + len(trending)
    most = max(room * len(batch), 1)
    rows, sources = np.empty(most, np.int32), np.empty(most, np.uint8)
    features = np.empty((most, len(FEATURES)), np.float32)
    starts = np.zeros(len(batch) + 1, np.int64)
    kernel.join(
        (batch.rows, batch.types, batch.times, batch.starts, batch.now),
        kinds,
        users,
        (sessions.rows, sessions.scores),
        (covisitation.rows, covisitation.scores),
        (ann.rows, ann.scores),
        (new.rows, new.scores),
        np.array(trending, np.int32),
        RECENTS,
        available,
        (facts.vectors, facts.popularity, facts.counts, facts.first_seen),
        (rows, starts, sources, features),
    )
    size = starts[-1]
    return Candidates(rows[:size], starts, sources[:size], features[:size])


def merged(found: Found, others: Found, k: int, keys: Int64s) -> Found:
    """The k best of two sources' lists of the same scale; equal scores in the order of their rows' `keys` (N + E,)."""
    rows = np.concatenate((found.rows, others.rows), axis=1)
    scores = np.concatenate((found.scores, others.scores), axis=1)
    order = np.lexsort((keys[rows], np.where(rows < 0, np.inf, -scores)), axis=1)[:, :k]
    return Found(np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1))
