"""From a user's state or a request to the Recommendation message. Pure, but for the wall clock passed in as text.

`recommendation_id` is a digest of all that a list was made from and of its items, so one id always carries the same
ones: live popularity, which lists are made from before the first artifact, can be named in no other way.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from stream.knowledge.listed import Lists, RankedList, Texts
from stream.state.row import pack_items
from stream.state.user_state import UserState
from stream.wire.list_frame import Frame
from stream.wire.messages import (
    EventPosition,
    Problem,
    Provenance,
    Recommendation,
)
from stream.wire.times import to_iso

DIGEST_BYTES = 16
NO_ITEMS = pack_items([])
NO_ARTIFACT, UNKNOWN_USER = "no_artifact", "unknown_user"

_PACK = msgspec.msgpack.Encoder()
_JSON = msgspec.json.Encoder()


class Made(msgspec.Struct, frozen=True, gc=False):
    """A finished message: its id, its JSON and what is in it."""

    recommendation_id: str
    value: bytes
    packed: msgspec.Raw  # the items' ids as a state's row has them
    artifact: str | None
    fallback: str | None
    size: int
    drawn: int = 0  # places filled by lot


class Version(NamedTuple):
    """What all lists of a micro-batch share."""

    artifact: str | None
    parent: str | None
    position: tuple[tuple[int, int], ...]  # of the catalogue: (partition, next offset)
    settings: str
    seed: int


class Answers:
    """Makes the messages of one micro-batch, all of one version."""

    def __init__(self, version: Version, generated_at: str) -> None:
        self._version = version
        self._generated_at = generated_at
        self._provenance = Provenance(version.artifact, version.parent, None, version.settings, version.seed)
        self._frame = Frame(self._provenance, generated_at)
        self._lists: Lists | None = None
        self._texts = Texts([], [])
        self._base = hashlib.blake2b(_PACK.encode(version), digest_size=DIGEST_BYTES)

    def identity(self, *parts: object) -> str:
        """The digest of the version and of `parts` (plain values)."""
        digest = self._base.copy()
        digest.update(_PACK.encode(parts))
        return digest.hexdigest()

    def for_user(self, user_id: str, state: UserState, seen: EventPosition, ranked: RankedList) -> Made:
        """The list for a change of a user's state."""
        items, packed = self._items(ranked)
        identity = self.identity("user", user_id, seen.topic, seen.partition, state.offset, packed)
        moment, fallback = to_iso(state.times[-1]) if state.times else None, ranked.fallback
        value = self._frame.message(
            identity, "user", items,
            user_id=user_id, request_id=None, seen=seen, moment=moment, fallback=fallback,
        )  # fmt: skip
        return Made(identity, value, packed, self._version.artifact, fallback, ranked.size, ranked.drawn)

    def for_request(
        self,
        kind: str,
        request_id: str,
        request: bytes,
        ranked: RankedList,
        *,
        now: int,
        partition: int,
        user_id: str | None = None,
        seen: EventPosition | None = None,
        fallback: str | None = None,
    ) -> Made:
        """The list for a request, whose record was `request`."""
        stamp = None if seen is None else seen.offset
        items, packed = self._items(ranked)
        identity = self.identity("request", kind, partition, user_id, stamp, now, request, packed)
        moment, fallback = to_iso(now) if now >= 0 else None, fallback or ranked.fallback
        value = self._frame.message(
            identity, kind, items,
            user_id=user_id, request_id=request_id, seen=seen, moment=moment, fallback=fallback,
        )  # fmt: skip
        return Made(identity, value, packed, self._version.artifact, fallback, ranked.size, ranked.drawn)

    def failed(self, kind: str, request_id: str, request: bytes, problem: Problem, user_id: str | None = None) -> Made:
        """The answer to a request that cannot be answered."""
        identity = self.identity("failed", problem.code, request)
        message = Recommendation(
            identity, kind, user_id, request_id, [], self._provenance, None, self._generated_at, error=problem
        )
        return Made(identity, _JSON.encode(message), NO_ITEMS, self._version.artifact, None, 0)

    def _items(self, ranked: RankedList) -> tuple[bytes, msgspec.Raw]:
        """The items of a list as JSON and their ids as a row holds them."""
        if ranked.lists is not self._lists:  # those made together are written together
            self._lists, self._texts = ranked.lists, ranked.lists.texts()
        return self._texts.items[ranked.at], self._texts.packed[ranked.at]
