"""Whether a contender did its job: a list for every good event, a dead letter for every bad one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stream.bench.logs import Sent

Place = tuple[int, int]  # partition and offset of an event


class Listed(NamedTuple):
    """Whose list it was, and the newest event that it had seen."""

    user: str
    place: Place


@dataclass(frozen=True)
class Checked:
    """How many good and bad events there were, and what came of them.

    `lost`: good events without a list of their own, or, where lists may be shared, without a later list of their user
    either. `repeated`: lists beyond the first for an event. `strange`: lists for what was no good event of that user.
    """

    events: int
    lists: int
    lost: int
    repeated: int
    strange: int
    bad: int
    letters_lost: int

    @property
    def exact(self) -> bool:
        """Whether nothing was lost and nothing invented."""
        return not (self.lost or self.strange or self.letters_lost)

    @property
    def lists_per_event(self) -> float:
        """Below 1 where bursts of one user share a list."""
        return self.lists / max(self.events, 1)


def check(sent: Sequence[Sent], lists: Iterable[Listed], letters: Iterable[Place], *, shared: bool) -> Checked:
    """Holds what came out against what was sent; `shared`: a later list of the same user answers an event, too."""
    good = {(record.partition, record.offset): record.user for record in sent if record.user is not None}
    bad = {(record.partition, record.offset) for record in sent if record.user is None}
    count = strange = 0
    places: set[Place] = set()
    newest: dict[str, Place] = {}
    for user, place in lists:
        count += 1
        if good.get(place) != user:
            strange += 1
            continue
        places.add(place)
        newest[user] = max(place, newest.get(user, place))
    unlisted = [place for place in good if place not in places]
    if shared:
        unlisted = [place for place in unlisted if newest.get(good[place] or "", (-1, -1)) < place]
    repeated = count - strange - len(places)
    return Checked(len(good), count, len(unlisted), repeated, strange, len(bad), len(bad - {*letters}))
