"""The JSON of a Recommendation, put together from pieces that are encoded once: byte for byte what msgspec would write.

Most of a list's bytes are the same from list to list: names of fields, ids, sources. A struct for each of its places
takes three times as long.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stream.wire.messages import EventPosition, Provenance

MOST_PIECES = 1 << 20  # ids whose pieces are kept: far more than lists hold, unless catalogues come and go

_JSON = msgspec.json.Encoder()
_BETWEEN = b',"reason":null},'  # two places without reasons


class _Heads(dict[str, bytes]):
    """The piece up to an item's score, by id."""

    def __missing__(self, item_id: str) -> bytes:
        if len(self) >= MOST_PIECES:
            self.clear()
        piece = self[item_id] = _BETWEEN + b'{"item_id":' + _JSON.encode(item_id) + b',"score":'
        return piece


class _Sources(dict[tuple[str, ...], bytes]):
    """The piece from an item's score to its propensity, by its sources."""

    def __missing__(self, sources: tuple[str, ...]) -> bytes:
        piece = self[sources] = b',"source":' + _JSON.encode(sources) + b',"propensity":'
        return piece


class _Certain(dict[tuple[str, ...], bytes]):
    """The piece from an item's score to its reason, by its sources, of an item that stands there for certain."""

    def __missing__(self, sources: tuple[str, ...]) -> bytes:
        piece = self[sources] = _SOURCES[sources] + b"1.0"
        return piece


_HEADS, _SOURCES, _CERTAIN = _Heads(), _Sources(), _Certain()


def items_json(
    item_ids: Sequence[str], scores: list[float], sources: Sequence[tuple[str, ...]], propensities: list[float]
) -> bytes:
    """The array of RecommendedItem for columns of a list without reasons."""
    count = len(item_ids)
    if count == 0:
        return b"[]"
    heads, tails = [*map(_HEADS.__getitem__, item_ids)], [*map(_CERTAIN.__getitem__, sources)]
    if propensities.count(1.0) < count:
        for at, propensity in enumerate(propensities):
            if propensity != 1.0:  # drawn by lot
                tails[at] = _SOURCES[sources[at]] + _JSON.encode(propensity)
    pieces = [b""] * (3 * count)
    pieces[::3], pieces[1::3], pieces[2::3] = heads, _numbers(scores), tails  # half the time of chained tuples
    return b"[" + b"".join(pieces)[len(_BETWEEN) :] + b',"reason":null}]'


def _numbers(values: list[float]) -> list[bytes]:
    """The JSON of each."""
    return _JSON.encode(values)[1:-1].split(b",")


class Frame:
    """What stands around the items: all but a few fields are the same in every list of a micro-batch."""

    def __init__(self, provenance: Provenance, generated_at: str) -> None:
        """`provenance` is that of all these lists; its event is not looked at."""
        before, after = _JSON.encode(msgspec.structs.replace(provenance, event=None)).split(b'"event":null', 1)
        self._before, self._after = b',"provenance":' + before + b'"event":', after + b',"event_timestamp":'
        self._generated = b',"generated_at":' + _JSON.encode(generated_at) + b',"fallback":'

    def message(
        self,
        recommendation_id: str,
        kind: str,
        items: bytes,
        *,
        user_id: str | None,
        request_id: str | None,
        seen: EventPosition | None,
        moment: str | None,
        fallback: str | None,
    ) -> bytes:
        """A Recommendation. `recommendation_id`, `kind`, `moment` and `fallback` are plain text of ours."""
        return b"".join(
            (
                b'{"recommendation_id":"',
                recommendation_id.encode(),
                b'","kind":"',
                kind.encode(),
                b'","user_id":',
                b"null" if user_id is None else _JSON.encode(user_id),
                b',"request_id":',
                b"null" if request_id is None else _JSON.encode(request_id),
                b',"items":',
                items,
                self._before,
                b"null" if seen is None else _JSON.encode(seen),
                self._after,
                b"null" if moment is None else b'"%b"' % moment.encode(),
                self._generated,
                b"null}" if fallback is None else b'"%b"}' % fallback.encode(),
            )
        )
