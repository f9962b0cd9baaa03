"""Which artifact answered which event, from the lists on `recommendations`."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

import msgspec
from aiokafka.structs import ConsumerRecord

from stream.wire.messages import Provenance

NO_LIST, NO_ARTIFACT, OTHER_SETTINGS = "no_list", "no_artifact", "other_settings"


class _List(msgspec.Struct):
    """As much of a Recommendation as is wanted here."""

    user_id: str | None
    request_id: str | None
    provenance: Provenance


@dataclass
class _Lists:
    """The lists of one user for events of one partition: the newest event that each has seen, ascending, and by whom
    each was made.
    """

    offsets: list[int] = field(default_factory=list)
    makers: list[tuple[str | None, str]] = field(default_factory=list)  # artifact, digest of the settings


class ServedLists:
    """Takes the records of `recommendations`, each partition in order.

    Events of one user in one micro-batch share a list, so an event's list is the first that has seen it. Compaction
    leaves gaps between offsets: of what stands before the last gap nothing is used, and of a user's first list behind
    it only that it answered the very event it names.
    """

    def __init__(self, settings: str) -> None:
        """`settings` is the digest of those with which lists can be made again."""
        self._settings = settings
        self._decoder = msgspec.json.Decoder(_List)
        self._by_user: dict[int, dict[str, _Lists]] = {}
        self._next: dict[int, int] = {}
        self._cut: set[int] = set()  # partitions of which a part is missing

    def take(self, record: ConsumerRecord) -> None:
        """Takes a record; answers to requests and what is no list (a tombstone, say) tell nothing."""
        users = self._by_user.setdefault(record.partition, {})
        if record.offset != self._next.get(record.partition, 0):
            self._cut.add(record.partition)
            users.clear()
        self._next[record.partition] = record.offset + 1
        try:
            found = self._decoder.decode(record.value or b"")
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        seen = found.provenance.event
        if found.request_id is not None or found.user_id is None or seen is None:
            return
        lists = users.setdefault(found.user_id, _Lists())
        at = bisect_left(lists.offsets, seen.offset)
        if lists.offsets[at : at + 1] == [seen.offset]:
            return  # sent again: the state knows the first
        del lists.offsets[at:], lists.makers[at:]  # sent before a crash that the state has not seen
        lists.offsets.append(seen.offset)
        lists.makers.append((found.provenance.artifact, found.provenance.settings))

    def shared(self, partition: int, user_id: str, offset: int, later: int) -> bool:
        """Whether one list answered two events of a user: both came in one micro-batch."""
        lists = self._by_user.get(partition, {}).get(user_id, _Lists())
        at = bisect_left(lists.offsets, offset)
        return at < len(lists.offsets) and at == bisect_left(lists.offsets, later)

    def artifact(self, partition: int, user_id: str, offset: int) -> str:
        """The artifact that answered an event.

        Raises UnknownListError with the reason where it is not known, or no list can be made as it was.
        """
        lists = self._by_user.get(partition, {}).get(user_id, _Lists())
        at = bisect_left(lists.offsets, offset)
        if at == len(lists.offsets) or (at == 0 and partition in self._cut and lists.offsets[0] != offset):
            raise UnknownListError(NO_LIST)
        artifact, settings = lists.makers[at]
        if artifact is None:
            raise UnknownListError(NO_ARTIFACT)
        if settings != self._settings:
            raise UnknownListError(OTHER_SETTINGS)
        return artifact


class UnknownListError(LookupError):
    """The list after an event is not known; the text is the reason under which the next event is left out."""
