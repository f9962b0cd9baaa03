"""Where in a candidate's features what stands; `indexing.candidates` explains them."""

from __future__ import annotations

ANN, RECENT, TRENDING, NEW, FIRST_MEMORY = 1, 2, 4, 8, 16  # bits of `sources`; the next memory has the next bit
POSITIVE, PURCHASE, NEGATIVE = 0, 1, 2  # kinds of event types
SESSION_GAP_MS = 1_800_000
SECOND_MS, HOUR_MS, DAY_MS = 1_000.0, 3_600_000.0, 86_400_000.0

SCORE_COLUMNS = 3  # of each source with scores, before those of `indexing.candidates.COMMON_FEATURES`:
# fmt: off
(AGREEMENT, SIMILARITY, SIMILARITY_LAST, POPULARITY_HOUR, POPULARITY_DAY, POPULARITY_WEEK, COUNT, IS_LAST, IN_SESSION,
 TIMES_IN_HISTORY, HISTORY_RECENCY, HOURS_SINCE, PURCHASED, REJECTED, AGE, COLD, WANTED_POPULARITY, WANTED_RATE,
 HISTORY_LENGTH, SESSION_LENGTH, WANTED_RARITY, TOGETHER, TOGETHER_SECOND, TOGETHER_THIRD,
 TOGETHER_WITH, SIMILARITY_SECOND, SIMILARITY_THIRD, SIMILARITY_MEAN, IS_SECOND, DISTINCT, PAUSE, BEGINS, ENDS, AGAIN,
 UNSEEN_FOR, OWNED, OWNED_PLACE, OWNED_ITEMS) = range(38)
# fmt: on
COMPARED = 3  # the user's newest different items, with each of which every candidate is compared
COUNTED = 8  # of which it is counted with how many a candidate is visited
STRENGTH_SCALE = 1_000.0  # scores are read as log(1 + scale * score): most are far below one
