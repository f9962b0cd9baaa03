"""The JSON of a Recommendation around its items, put together from pieces that are encoded once: byte for byte what
msgspec would write.
"""

from __future__ import annotations

import msgspec

from stream.wire.messages import EventPosition, Provenance

_JSON = msgspec.json.Encoder()


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
