"""Candidates: the union of what all sources found for each user, with the features that the ranker reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from indexing import union as kernel
from indexing.arrays import filled, frozen, joined
from indexing.columns import NEGATIVE, POSITIVE, PURCHASE, SCORE_COLUMNS
from indexing.histories import Floats, HistoryBatch, Int32s, Int64s
from indexing.item_facts import ItemFacts

# Of each source with scores, `<name>_score` (divided by the best of the list), `<name>_rank` (1 / (1 + place)) and
# `<name>_strength` (log(1 + 1000 * score)), all 0 where it did not find the item; then, for every candidate:
COMMON_FEATURES: tuple[str, ...] = (
    "agreement",  # of how many of the sources with scores the item came
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
    "wanted_popularity",  # log(1 + decayed count of the item's events of the type that is asked for)
    "wanted_rate",  # log of how much larger that type's share of the item's events is than of all events
    "history_length",  # log(1 + interactions), the same for all candidates of a list; so for the next one
    "session_length",
    "wanted_rarity",  # -log of the share of the type that is asked for among all events
    "together",  # log(1 + 1000 * score) of co-visitation with the last item that was not rejected
    "together_second",  # the same with the last but one different item
    "together_third",
    "together_with",  # with how many of the last eight different items it is visited together
    "similarity_second",  # cosine of the vectors of the last but one different item and of the item
    "similarity_third",
    "similarity_mean",  # with the mean of the last eight different items' vectors
    "is_second",  # the last but one different item itself
    "distinct",  # log(1 + different items among the newest), the same for all candidates of a list; so for the next one
    "pause",  # log(1 + seconds between the last two interactions)
    "begins",  # log of how much more often than usual sessions with the item begin with it; so for the next two
    "ends",
    "again",  # how often it is met again within a session
    "unseen_for",  # log(1 + hours since the last event of the item)
    "owned",  # the user has bought it at any time
    "owned_place",  # log(1 + different items bought since), 0 where it was not bought
    "owned_items",  # log(1 + different items bought), the same for all candidates of a list
)
ANN = "ann"  # the source over item vectors: the last of those with scores
FIXED_SOURCES: tuple[str, ...] = (ANN, "recent", "trending", "new")  # bit i of `sources`; the memories' bits follow
RECENTS = 20


class Found(NamedTuple):
    """What one source found for B users: `rows` (B, k) best first, -1 behind the last, and their `scores` (B, k)."""

    rows: Int32s
    scores: Floats

    @classmethod
    def nothing(cls, users: int) -> Found:
        """Empty lists for so many users."""
        return cls(np.zeros((users, 0), np.int32), np.zeros((users, 0), np.float32))


@dataclass(frozen=True)
class Candidates:
    """Candidates of B users, M together: `rows` (M,), `starts` (B + 1,), `sources` (M,) bits, `features` (M, F)."""

    rows: Int32s
    starts: Int64s
    sources: npt.NDArray[np.uint16]
    features: Floats

    def users(self) -> Int64s:
        """The user (position in the batch) of each candidate, (M,)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))


class Room:
    """Arrays that candidates are written into, used again: the pages of new ones would have to be asked of the system,
    and cleared by it, each time.
    """

    def __init__(self) -> None:
        self._arrays = _arrays(0, 0)

    def of(self, size: int, columns: int) -> tuple[Int32s, npt.NDArray[np.uint16], Floats]:
        """Rows, sources and features of `size` candidates, with anything in them, until asked again."""
        rows, sources, features = self._arrays
        if len(rows) < size or features.shape[1] != columns:
            rows, sources, features = self._arrays = _arrays(size, columns)
        return rows[:size], sources[:size], features[:size]


def _arrays(size: int, columns: int) -> tuple[Int32s, npt.NDArray[np.uint16], Floats]:
    return np.empty(size, np.int32), np.empty(size, np.uint16), np.empty((size, columns), np.float32)


def feature_names(memories: Sequence[str]) -> tuple[str, ...]:
    """The F features of candidates found by these memories and by vectors, in the order of their columns.

    >>> feature_names(["sessions"])[:4]
    ('sessions_score', 'sessions_rank', 'sessions_strength', 'ann_score')
    """
    scored = (f"{name}_{what}" for name in (*memories, ANN) for what in ("score", "rank", "strength"))
    return (*scored, *COMMON_FEATURES)


def source_names(bits: int, memories: Sequence[str]) -> list[str]:
    """The sources in a candidate's bits.

    >>> source_names(0b100101, ["sessions", "covisitation"])
    ['ann', 'trending', 'covisitation']
    """
    return [name for bit, name in enumerate((*FIXED_SOURCES, *memories)) if bits >> bit & 1]


class SourceNames(dict[int, tuple[str, ...]]):
    """`source_names` by their bits, made when first asked for.

    `texts`: all of them as JSON, in the order of their bits, one behind the other, and where each begins.
    """

    def __init__(self, memories: Sequence[str]) -> None:
        super().__init__()
        self._memories = memories
        texts = [f'"{name}"'.encode() for name in (*FIXED_SOURCES, *memories)]  # names of modules
        bytes_, starts = joined(texts)
        self.texts = frozen(bytes_, np.uint8), frozen(starts, np.int64)

    def __missing__(self, bits: int) -> tuple[str, ...]:
        names = self[bits] = tuple(source_names(bits, self._memories))
        return names


def source_bit(name: str, memories: Sequence[str]) -> int:
    """The bit of one source."""
    return 1 << (*FIXED_SOURCES, *memories).index(name)


def kinds_of(event_types: Sequence[str], unwanted: Sequence[str]) -> npt.NDArray[np.uint8]:
    """What each event type means to features: a purchase, a rejection (`remove` and all `unwanted` types) or neither,
    (types,).
    """
    meaning = {"purchase": PURCHASE, "remove": NEGATIVE} | dict.fromkeys(unwanted, NEGATIVE)
    return np.array([meaning.get(name, POSITIVE) for name in event_types], np.uint8)


def union(
    batch: HistoryBatch,
    kinds: npt.NDArray[np.uint8],
    users: Floats,
    *,
    memories: Sequence[Found],
    ann: Found,
    new: Found,
    again: Int32s,
    trending: Int32s,
    vectors: Floats,
    facts: ItemFacts,
    available: npt.NDArray[np.bool_],
    room: Room | None = None,
) -> Candidates:
    """Joins the sources' lists (and each user's own recent items) to candidates, each item once a list.

    `users` (B, D) user vectors; `memories` what each memory found, in the order of its features and bits; `again`
    (B, k) what each user has bought and may buy again; `trending` rows for everybody; `vectors` (N + E, D) normalised,
    of which the last E are newer than the artifact and have no `facts`; `available` (N + E,): rows that may be
    candidates. The order within a list is that of the sources, so it depends on nothing but the arguments. In a `room`
    they are there until the next union with it.
    """
    count = len(batch)
    rows_found, scores_found = _stacked([*memories, ann], count)
    each = rows_found.shape[0] * rows_found.shape[2] + new.rows.shape[1] + again.shape[1] + RECENTS + len(trending)
    columns = SCORE_COLUMNS * len(rows_found) + len(COMMON_FEATURES)
    rows, sources, features = (room or Room()).of(max(each * count, 1), columns)
    starts = np.zeros(count + 1, np.int64)
    kernel.join(
        (batch.rows, batch.types, batch.times, batch.starts, batch.now, batch.intents, batch.owned, batch.owned_starts),
        kinds,
        users,
        (rows_found, scores_found),
        (new.rows, again),
        frozen(trending, np.int32),
        RECENTS,
        available,
        frozen(vectors, np.float32),
        (facts.table, facts.wanted_pairs, facts.wanted.rarities, facts.as_of),
        (facts.together.starts, facts.together.rows, facts.together.scores),
        (rows, starts, sources, features),
    )
    size = starts[-1]
    return Candidates(rows[:size], starts, sources[:size], features[:size])


def _stacked(found: Sequence[Found], users: int) -> tuple[Int32s, Floats]:
    """The lists of S sources as arrays (S, B, k), shorter ones padded."""
    widths = {one.rows.shape[1] for one in found}
    width = max(widths)
    if len(widths) == 1:
        return np.array([one.rows for one in found], np.int32), np.array([one.scores for one in found], np.float32)
    rows = filled((len(found), users, width), -1, np.int32)
    scores = np.zeros((len(found), users, width), np.float32)
    for number, one in enumerate(found):
        rows[number, :, : one.rows.shape[1]] = one.rows
        scores[number, :, : one.rows.shape[1]] = one.scores
    return rows, scores


def merged(found: Found, others: Found, k: int, keys: Int64s) -> Found:
    """The k best of two sources' lists of the same scale; equal scores in the order of their rows' `keys` (N + E,)."""
    rows = np.concatenate((found.rows, others.rows), axis=1)
    scores = np.concatenate((found.scores, others.scores), axis=1)
    order = np.lexsort((keys[rows], np.where(rows < 0, np.inf, -scores)), axis=1)[:, :k]
    return Found(np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1))
