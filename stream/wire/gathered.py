"""A record batch to which messages are added one by one, in Kafka's format 2: its pieces are joined, not appended.

https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

from collections.abc import Sequence

from stream.wire.record_batches import HEADER_BYTES, Batch

Headers = Sequence[tuple[str, bytes | None]]

ATTRIBUTES_AND_TIME, NO_HEADERS = b"\0\0", b"\0"
KEPT = 1 << 16  # numbers from which on none is remembered


class _Varints(dict[int, bytes]):
    """Numbers from -1 on as Kafka writes them: in groups of seven bits after the sign, the lowest first."""

    def __missing__(self, number: int) -> bytes:
        left, groups = 2 * number if number >= 0 else 1, bytearray()
        while left >= 0x80:
            groups.append(left & 0x7F | 0x80)
            left >>= 7
        groups.append(left)
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
        self._room, self._size = room, HEADER_BYTES
        self._joined: list[bytes] = []  # the first messages
        self._pieces: list[bytes] = []  # those behind them

    def add(self, key: bytes | None, value: bytes | None, headers: Headers | None = None) -> bool:
        """Adds a message; False where it does not fit."""
        number, tail = _VARINTS[self._relative_offset], NO_HEADERS if not headers else _headers(headers)
        key_size, key = (_NULL, b"") if key is None else (_VARINTS[len(key)], key)
        value_size, value = (_NULL, b"") if value is None else (_VARINTS[len(value)], value)
        size = 2 + len(number) + len(key_size) + len(key) + len(value_size) + len(value) + len(tail)
        size_written = _VARINTS[size]
        after = self._size + len(size_written) + size
        if after > self._room and self._relative_offset:
            return False
        self._pieces += (size_written, ATTRIBUTES_AND_TIME, number, key_size, key, value_size, value, tail)
        self._relative_offset += 1
        self._size = after
        return True

    def add_all(self, messages: Sequence[tuple[bytes, bytes]]) -> int:
        """`add` for each key and value; returns how many of them fit, the first ones.

        They are copied at once: the memory that they took is still near for those that are made next.
        """
        varints, pieces, size, number = _VARINTS, self._pieces, self._size, self._relative_offset
        first = number
        for key, value in messages:
            named, key_size, value_size = varints[number], varints[len(key)], varints[len(value)]
            record = 3 + len(named) + len(key_size) + len(key) + len(value_size) + len(value)
            record_size = varints[record]
            after = size + len(record_size) + record
            if after > self._room and number:
                break
            pieces += (record_size, ATTRIBUTES_AND_TIME, named, key_size, key, value_size, value, NO_HEADERS)
            number, size = number + 1, after
        self._joined.append(b"".join(pieces))
        pieces.clear()
        self._relative_offset, self._size = number, size
        return number - first

    def _records(self) -> bytes:
        records = b"".join((*self._joined, *self._pieces))
        self._joined.clear()
        self._pieces.clear()
        return records

    def size(self) -> int:
        """Bytes of the batch, before it is built as many as without compression."""
        return self._size if self._buffer is None else len(self._buffer)


def _headers(headers: Headers) -> bytes:
    pieces = [_VARINTS[len(headers)]]
    for name, value in headers:
        encoded = name.encode()
        pieces += (_VARINTS[len(encoded)], encoded, _NULL if value is None else _VARINTS[len(value)], value or b"")
    return b"".join(pieces)
