"""A record batch to which messages are added one by one, in Kafka's format 2: its pieces are joined, not appended.

https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

from collections.abc import Sequence

from aiokafka.record.util import encode_varint

from stream.wire.record_batches import Batch

Headers = Sequence[tuple[str, bytes | None]]

ATTRIBUTES_AND_TIME, NO_HEADERS = b"\0\0", b"\0"
KEPT = 1 << 16  # numbers from which on none is remembered


class _Varints(dict[int, bytes]):
    """Numbers from -1, which is that of null, as Kafka writes them."""

    def __missing__(self, number: int) -> bytes:
        groups = bytearray()
        encode_varint(number, groups.append)
        written = bytes(groups)
        if number < KEPT:
            self[number] = written
        return written


_VARINTS = _Varints()
_NULL = _VARINTS[-1]


class GatheredBatch(Batch):
    """A batch of at most `room` bytes before they are compressed; the first message may be of any size."""

    def __init__(self, room: int, timestamp: int, codec: str = "none") -> None:
        super().__init__(timestamp, codec)
        self._room = room
        self._joined: list[bytes] = []

    def add(self, key: bytes | None, value: bytes | None, headers: Headers | None = None) -> bool:
        """Adds a message; False where it does not fit."""
        return self.add_all([(key, value)], _headers(headers) if headers else NO_HEADERS) == 1

    def add_all(self, messages: Sequence[tuple[bytes | None, bytes | None]], headers: bytes = NO_HEADERS) -> int:
        """Adds messages, all with the same `headers`, as they are written; returns how many fit, the first ones.

        They are copied at once: the memory that they took is still near for those that are made next.
        """
        varints, size, number = _VARINTS, self._size, self._relative_offset
        pieces: list[bytes] = []
        for key, value in messages:
            named, key_bytes, value_bytes = varints[number], key or b"", value or b""
            key_size = _NULL if key is None else varints[len(key)]
            value_size = _NULL if value is None else varints[len(value)]
            record = 2 + len(named) + len(key_size) + len(key_bytes) + len(value_size) + len(value_bytes) + len(headers)
            record_size = varints[record]
            after = size + len(record_size) + record
            if after > self._room and number:
                break
            pieces += (record_size, ATTRIBUTES_AND_TIME, named, key_size, key_bytes, value_size, value_bytes, headers)
            number, size = number + 1, after
        self._joined.append(b"".join(pieces))
        added, self._relative_offset, self._size = number - self._relative_offset, number, size
        return added

    def _records(self) -> bytes:
        records = b"".join(self._joined)
        self._joined.clear()
        return records


def _headers(headers: Headers) -> bytes:
    pieces = [_VARINTS[len(headers)]]
    for name, value in headers:
        encoded = name.encode()
        pieces += (_VARINTS[len(encoded)], encoded, _NULL if value is None else _VARINTS[len(value)], value or b"")
    return b"".join(pieces)
