"""Events as columns on their way from a file to Kafka: what they say as messages, none of them looked at alone."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from stream.shop.columns import Ints
from stream.shop.interactions import Events, Interaction


@dataclass(frozen=True)
class EventLot:
    """Events, each with the line of the file that it stands on; its event id is `stem`, a hyphen and the line."""

    events: Events
    lines: Ints
    stem: str

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, rows: Any) -> EventLot:  # noqa: ANN401  (all that indexes an array)
        """Some of the events, in any order."""
        users, items, types, times, sessions = self.events
        of_users = users.take(rows)
        of_sessions = of_users if sessions is users else None if sessions is None else sessions.take(rows)
        chosen = Events(of_users, items.take(rows), types.take(rows), times[rows], of_sessions)
        return EventLot(chosen, self.lines[rows], self.stem)

    def shifted(self, milliseconds: int) -> EventLot:
        """The same events, later."""
        return replace(self, events=self.events._replace(times=self.events.times + milliseconds))

    def event_ids(self) -> pa.StringArray:
        """The ids of the events."""
        return pc.binary_join_element_wise(f"{self.stem}-", pa.array(self.lines).cast(pa.string()), "")

    def without(self, event_ids: Collection[str]) -> EventLot:
        """The events that have none of these ids."""
        if not event_ids:
            return self
        known = pc.is_in(self.event_ids(), pa.array(event_ids, pa.string()))
        return self[~known.to_numpy(zero_copy_only=False)]

    def interactions(self) -> list[Interaction]:
        """The same, event by event."""
        users, items, types, times, sessions = self.events
        nothing: Iterator[None] = itertools.repeat(None)
        ids = (part.array().to_pylist() for part in (users, items, types))
        of_sessions = nothing if sessions is None else sessions.array().to_pylist()
        rest = (nothing,) * 5  # what regular rows do not say
        return [*map(Interaction, *ids, times.tolist(), of_sessions, *rest, self.event_ids().to_pylist())]

    def messages(self) -> tuple[pa.BinaryArray, pa.BinaryArray]:
        """Keys and values of their records, the values as `Interaction` has them as JSON."""
        users, items, types, times, sessions = self.events
        user_texts = users.json()
        pieces = ['{"user_id":', user_texts, ',"item_id":', items.json(), ',"event_type":', types.json()]
        pieces += [',"timestamp":', pa.array(times).cast(pa.string())]
        if sessions is not None:
            pieces += [',"session_id":', user_texts if sessions is users else sessions.json()]
        stem = msgspec.json.encode(f"{self.stem}-").decode().removesuffix('"')
        pieces += [f',"event_id":{stem}', pa.array(self.lines).cast(pa.string()), '"}']
        return users.array().cast(pa.binary()), pc.binary_join_element_wise(*pieces, "").cast(pa.binary())
