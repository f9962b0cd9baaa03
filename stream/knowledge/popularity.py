"""What is popular while nothing has been learned yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice


class LivePopularity:
    """Counts of the events that one worker has seen, used only before the first artifact."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._ranking: list[str] | None = None

    def __len__(self) -> int:
        return len(self._counts)

    def observe(self, item_ids: Iterable[str]) -> None:
        """Counts one event for each id."""
        self._counts.update(item_ids)
        self._ranking = None

    def count(self, item_id: str) -> int:
        """Events of an item so far."""
        return self._counts[item_id]

    def since(self, seen: int) -> Iterator[str]:
        """The ids that were first observed after `seen` others."""
        return islice(self._counts, seen, None)

    def most(self, count: int | None = None) -> list[str]:
        """The ids with the most events (all of them for None: not to be changed), equal ones in the order of their ids.

        >>> popularity = LivePopularity()
        >>> popularity.observe(["b", "c", "a", "c"])
        >>> popularity.most(2)
        ['c', 'a']
        """
        if self._ranking is None:
            self._ranking = sorted(sorted(self._counts), key=self._counts.__getitem__, reverse=True)  # which keeps ties
        return self._ranking if count is None else self._ranking[:count]
