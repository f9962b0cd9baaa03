"""Record batches of many messages made column by column, in Kafka's format 2: nothing is done message by message.

https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import DefaultRecordBase

Ints = npt.NDArray[np.int64]

HEADER = DefaultRecordBase.HEADER_STRUCT
MAGIC, NO_LEADER_EPOCH = 2, -1
# As a batch's attributes number them.
CODECS: Mapping[str, tuple[int, Callable[[bytes], bytes]]] = {
    "none": (0, bytes),
    "gzip": (1, gzip_encode),
    "snappy": (2, snappy_encode),
    "lz4": (3, lz4_encode),
    "zstd": (4, zstd_encode),
}
VARINT_STEPS = (1 << 6, 1 << 13, 1 << 20, 1 << 27)  # from which on a number takes a byte more
OVERHEAD = 21  # bytes of a record at most beside its key and its value


class Batch(BatchBuilder):  # type: ignore[misc]  # aiokafka is untyped
    """For `AIOKafkaProducer.send_batch`: a batch whose records, all of one `timestamp` (epoch ms), are made by us.

    Its check sum is taken by the processor's own instruction, and its records are copied once more.
    """

    def __init__(self, timestamp: int, codec: str = "none") -> None:
        self._relative_offset = 0  # the number of records
        self._size = int(HEADER.size)  # with all records, before they are compressed
        self._timestamp, self._codec = timestamp, codec
        self._producer = (-1, -1, 0)
        self._buffer: bytes | None = None
        self._closed = False

    def _records(self) -> bytes:
        """All of them, one after the other."""
        raise NotImplementedError

    def size(self) -> int:
        """Bytes of the batch, before it is built as many as without compression."""
        return self._size if self._buffer is None else len(self._buffer)

    def append(self, **_message: object) -> object:
        """Takes nothing, as a full batch: `AIOKafkaProducer.send` begins one of its own."""
        return None

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._producer = (producer_id, producer_epoch, base_sequence)

    def _build(self) -> bytes:
        self.close()
        if self._buffer is None:
            attributes, compressed = CODECS[self._codec]
            records = compressed(self._records())
            count, moment = self._relative_offset, self._timestamp
            described = (attributes, count - 1, moment, moment, *self._producer, count)
            length = HEADER.size - DefaultRecordBase.AFTER_LEN_OFFSET + len(records)
            header = bytearray(HEADER.pack(0, length, NO_LEADER_EPOCH, MAGIC, 0, *described))
            crc = google_crc32c.value(bytes(header[DefaultRecordBase.ATTRIBUTES_OFFSET :]))
            crc = google_crc32c.extend(crc, records)
            struct.pack_into(">I", header, DefaultRecordBase.CRC_OFFSET, crc)
            self._buffer = b"".join((header, records))
        return self._buffer


class MadeBatch(Batch):
    """A batch whose records lie somewhere already; nothing can be appended."""

    def __init__(self, records: memoryview, count: int, timestamp: int, codec: str = "none") -> None:
        """`records` stand one after the other."""
        super().__init__(timestamp, codec)
        self._made, self._relative_offset = records, count
        self._size += len(records)
        self.close()

    def _records(self) -> bytes:
        return bytes(self._made)


def record_batches(
    keys: pa.BinaryArray,
    values: pa.BinaryArray,
    counts: Sequence[int] | Ints,
    *,
    timestamp: int,
    max_bytes: int,
    codec: str = "none",
) -> list[list[MadeBatch]]:
    """The batches of each partition, none larger than `max_bytes` before it is compressed, all records with one
    `timestamp` (epoch ms).

    `keys` and `values`, none of them null, are the messages of the first partition in their order, then those of the
    next: `counts` says how many. Raises ValueError for a message that does not fit into a batch.
    """
    key_lengths, value_lengths = _lengths(keys), _lengths(values)
    ends = np.cumsum(key_lengths + value_lengths + OVERHEAD)
    cuts = [
        _cuts(ends, count, upto, max_bytes - HEADER.size) for count, upto in zip(counts, np.cumsum(counts), strict=True)
    ]
    starts = np.array([start for part in cuts for start, _end in part], np.int64)
    numbers = np.arange(len(keys)) - np.repeat(starts, np.diff(starts, append=len(keys)))
    offsets, data = _records(keys, values, key_lengths, value_lengths, numbers)
    return [[MadeBatch(data[offsets[a] : offsets[b]], b - a, timestamp, codec) for a, b in part] for part in cuts]


def _cuts(ends: Ints, count: int, upto: int, room: int) -> list[tuple[int, int]]:
    """Where the batches of the `count` messages before `upto` begin and end."""
    found, start, upto = [], int(upto - count), int(upto)
    while start < upto:
        before = int(ends[start - 1]) if start else 0
        end = min(upto, int(np.searchsorted(ends, before + room, side="right")))
        if end == start:
            raise ValueError(f"a message does not fit into a batch: {int(ends[start]) - before} bytes, not {room}")
        found.append((start, end))
        start = end
    return found


def _records(
    keys: pa.BinaryArray, values: pa.BinaryArray, key_lengths: Ints, value_lengths: Ints, numbers: Ints
) -> tuple[Ints, memoryview]:
    """The records of messages that have these numbers in their batches: where each begins, and all of them."""
    sizes = 3 + _varint_size(numbers) + _varint_size(key_lengths) + key_lengths
    sizes += _varint_size(value_lengths) + value_lengths
    attributes_and_time, no_headers = _scalar(b"\0\0"), _scalar(b"\0")
    records = pc.binary_join_element_wise(
        _varints(sizes), attributes_and_time, _varints(numbers), _varints(key_lengths), keys.cast(pa.binary()),
        _varints(value_lengths), values.cast(pa.binary()), no_headers, _scalar(b""),
    )  # fmt: skip
    _validity, offsets, data = records.buffers()
    return np.frombuffer(offsets, np.int32, len(records) + 1), memoryview(data)


def _scalar(text: bytes) -> pa.Scalar:
    return pa.scalar(text, pa.binary())


def _lengths(texts: pa.BinaryArray) -> Ints:
    return np.asarray(pc.binary_length(texts), np.int64)


def _varint_size(numbers: Ints) -> Ints:
    return 1 + sum((numbers >= step for step in VARINT_STEPS), np.zeros(len(numbers), np.int64))


def _varints(numbers: Ints) -> pa.BinaryArray:
    """Each number, none below 0, as Kafka writes it: in groups of seven bits after its sign, the lowest first."""
    return _varint_table(int(numbers.max(initial=1)).bit_length()).take(pa.array(numbers))


@lru_cache
def _varint_table(bits: int) -> pa.BinaryArray:
    numbers = np.arange(1 << bits, dtype=np.int64)
    sizes = _varint_size(numbers)
    groups = np.arange(len(VARINT_STEPS) + 1)
    written = (2 * numbers[:, None] >> 7 * groups) & 0x7F | np.where(groups < sizes[:, None] - 1, 0x80, 0)
    data = written[groups < sizes[:, None]].astype(np.uint8)
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(numbers), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
