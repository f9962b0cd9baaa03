"""What a replay does column by column is what it does row by row, over random files and random events."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.settings import EventSettings, KafkaSettings
from stream.shop import rows as rows_module
from stream.shop.columns import column, constant, plain_moments
from stream.shop.delivery import Delivery, Message
from stream.shop.event_lot import EventLot
from stream.shop.interactions import Events, Interaction, Parse, map_columns
from stream.shop.log_file import Plan, Rejects, Status, read_log, singly
from stream.shop.rows import RowFile
from stream.wire.decoding import Decoder
from stream.wire.times import read_time

NOW = 1_795_435_200_000
MAPPING = {"user": "user", "item": "item", "time": "time", "type": "type", "session": "session"}
ODD = [
    "",
    " ",
    "NA",
    "u 1",
    " u1",
    "17.0",
    "é",
    "x" * 600,
    '"q"',
    '"two\nlines"',
    "a,b",
    "\0",
    "a\rb",
    "\ufeff",
    "\x85",
    "nan",
]
ids = st.one_of(st.text("ab1-_:", min_size=1, max_size=3), st.text('aé"\\ .0\x7f\u2028', min_size=1, max_size=3))
times = st.one_of(
    st.integers(0, 2_000_000_000).map(str),
    st.decimals(0, 2_000_000_000, places=2).map(str),
    st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds") + "Z"),
    st.text("0123456789.", min_size=1, max_size=22),
    st.sampled_from([*ODD, "inf", "1e9", "2014-02-30T00:00:00.000Z", "2014-04-07 10:51:09.277Z", "9" * 400]),
)
USUAL = (["u1", "u2", "u3"], ["i1", "i2"], [str(1_500_000_000 + n) for n in range(99)], ["click", "VIEW"], ["s1", "s2"])
rows = st.lists(st.tuples(*map(st.sampled_from, USUAL)).map(list), max_size=30)
odd_fields = st.tuples(st.integers(0, 29), st.integers(0, 4), st.sampled_from([*ODD, "9999999999999", "-1", "buy"]))
odd_lines = st.tuples(st.integers(0, 29), st.sampled_from(["", "u1,i1", "u1,i1,5,click,s1,more"]))


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Rows as they are usual, with a few fields and lines that are not."""
    found = draw(rows)
    for row, field, text in draw(st.lists(odd_fields, max_size=3)):
        if row < len(found):
            found[row][field] = text
    written = [",".join(MAPPING), *(",".join(fields) for fields in found)]
    for row, line in draw(st.lists(odd_lines, max_size=1)):
        written.insert(min(row + 1, len(written)), line)
    end = draw(st.sampled_from(["\n", "\r\n"]))
    text = end.join(written) + end * draw(st.booleans())
    mark = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return mark + text.encode(draw(st.sampled_from(["utf-8", "latin-1"])), "replace")


def said(folder: Path, path: Path, *, by_columns: bool) -> tuple[list[Interaction], str, int]:
    """All events of a file, what was said of rejected rows, and how many rows there were."""
    file, parse = RowFile(path), map_columns(MAPPING, "click")
    if not by_columns:
        file._by_lines, parse = False, Parse(parse._read)
    rejects, status = Rejects(folder / "rejects.jsonl"), Status()
    plan = Plan(file, parse, None, sort=False, speed=None)
    events = [*singly(read_log(plan, Decoder(EventSettings()), rejects, status, NOW))]
    rejects.close()
    return events, rejects.file.read_text(), status.rows


@given(written=files(), lot_bytes=st.integers(1, 400))
@settings(max_examples=100, deadline=None)
def test_a_file_says_the_same_by_columns(written: bytes, lot_bytes: int) -> None:
    """The same events with the same ids, the same rejected rows with line and reason, however the file is cut."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "log.csv"
        path.write_bytes(written)
        before, rows_module.LOT_BYTES = rows_module.LOT_BYTES, lot_bytes
        try:
            assert said(path.parent, path, by_columns=True) == said(path.parent, path, by_columns=False)
        finally:
            rows_module.LOT_BYTES = before


@given(texts=st.lists(times, min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_times_read_together_are_those_read_alone(texts: list[str]) -> None:
    """Where times can be read as a column, each is what it is alone."""
    together = plain_moments(pa.array(texts, pa.string()))
    if together is not None:
        assert together.tolist() == [read_time(text) for text in texts]


@st.composite
def lots(draw: st.DrawFn) -> EventLot:
    """Events as columns."""
    count = draw(st.integers(1, 60))
    texts = [column(pa.array(draw(st.lists(ids, min_size=count, max_size=count)), pa.string())) for _ in range(3)]
    users, items, others = texts
    sessions = draw(st.sampled_from([None, users, others]))
    moments = draw(st.lists(st.integers(0, 2 << 40), min_size=count, max_size=count))
    lines = np.arange(count) + draw(st.integers(1, 10**12))
    events = Events(users, items, constant(draw(ids), count), np.array(moments, np.int64), sessions)
    return EventLot(events, lines, draw(ids))


def messages_of(lot: EventLot) -> list[tuple[bytes, bytes]]:
    """The plain way: event by event."""
    return [(event.user_id.encode(), msgspec.json.encode(event)) for event in lot.interactions()]


@given(lot=lots())
@settings(max_examples=100, deadline=None)
def test_messages_are_those_of_single_events(lot: EventLot) -> None:
    """The same keys and, byte for byte, the same JSON."""
    keys, values = lot.messages()
    assert [*zip(keys.to_pylist(), values.to_pylist(), strict=True)] == messages_of(lot)


@given(lot=lots(), seed=st.integers(0, 99), more=st.lists(ids))
@settings(max_examples=50, deadline=None)
def test_events_that_stand_in_the_topic_are_left_out(lot: EventLot, seed: int, more: list[str]) -> None:
    """Those with one of the given ids, and no others; the order stays."""
    known = {*more} | {id_ for at, id_ in enumerate(lot.event_ids().to_pylist()) if (at * seed) % 3}
    expected = [event for event in lot.interactions() if event.event_id not in known]
    assert lot.without(known).interactions() == expected


class Partitions:
    """A producer that keeps what it is given."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.records: dict[int, list[tuple[bytes | None, bytes | None]]] = defaultdict(list)

    async def partitions_for(self, topic: str) -> set[int]:
        return set(range(self.count))

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(1 << 18, 0)

    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[None]:
        read = MemoryRecords(bytes(batch._build())).next_batch()
        self.records[partition] += [(record.key, record.value) for record in read or ()]
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


@given(lot=lots(), count=st.integers(1, 12), partitioner=st.sampled_from(["murmur2", "crc32", "any"]))
@settings(max_examples=50, deadline=None)
def test_columns_go_where_single_messages_go(
    lot: EventLot, count: int, partitioner: Literal["murmur2", "crc32", "any"]
) -> None:
    """The same messages in the same order in every partition, whichever way they were sent."""

    async def sent(by_columns: bool) -> dict[int, list[tuple[bytes | None, bytes | None]]]:
        producer = Partitions(count)
        delivery = Delivery(producer, KafkaSettings(partitioner=partitioner))
        if by_columns:
            await (await delivery.send_lot("events", lot))
        else:
            await (await delivery.send([Message("events", *message) for message in messages_of(lot)]))
        return dict(producer.records)

    assert asyncio.run(sent(by_columns=True)) == asyncio.run(sent(by_columns=False))
