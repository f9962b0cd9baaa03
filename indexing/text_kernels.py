"""The compiled loops over items' words (numba, nogil); see `indexing.kernels` for the rules they follow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from indexing.kernels import _best


@njit(cache=True, nogil=True)
def alike(
    item_starts: Any,
    words: Any,
    word_starts: Any,
    word_items: Any,
    squares: Any,
    norms: Any,
    budget: int,
    most: int,
    out_counts: Any,
    out_rows: Any,
    out_scores: Any,
) -> None:
    """For each item the `most` items with the greatest squared cosine of their words' weights.

    Item i has the words `words[item_starts[i]:item_starts[i + 1]]`, each once; word w stands in the items
    `word_items[word_starts[w]:word_starts[w + 1]]`. `squares` are the words' squared weights, `norms` the items'. Of
    equally like items those next in the order of rows are chosen, going round: nobody is everybody's neighbour.
    """
    count = item_starts.size - 1
    sums, keys, touched = np.zeros(count, np.float32), np.zeros(count, np.int64), np.zeros(count, np.int64)
    best = np.zeros(most, np.int64)
    for item in range(count):
        found = left = np.int64(0)
        for at in range(item_starts[item], item_starts[item + 1]):
            word = words[at]
            left += word_starts[word + 1] - word_starts[word]
            if left > budget and at > item_starts[item]:
                break
            weight = squares[word] / norms[item]
            for place in range(word_starts[word], word_starts[word + 1]):
                other = word_items[place]
                if other == item:
                    continue
                if sums[other] == 0.0:
                    touched[found] = other
                    keys[other] = (other - item) % count
                    found += 1
                sums[other] += weight / norms[other]
        out_counts[item] = _best(keys, sums, touched, found, best, most)
        for at in range(out_counts[item]):
            out_rows[item, at] = best[at]
            out_scores[item, at] = sums[best[at]] * sums[best[at]]
        for at in range(found):
            sums[touched[at]] = 0.0
