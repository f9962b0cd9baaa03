"""A log in a file as a sequence of events: read, checked, put into order of time where it is not."""

from __future__ import annotations

import heapq
import itertools
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO

import msgspec
import numpy as np

from stream.shop.event_lot import EventLot
from stream.shop.interactions import Interaction, Parse
from stream.shop.rows import Block, Row, RowFile, RowProblem
from stream.wire.decoding import Decoder, Rejection
from stream.wire.messages import Item, RawEvent

SORTED_RUN = 500_000  # events sorted in memory at a time, about 400 MB
DAY = 86_400_000
SHOWN_LINES = 5
AT_ONCE = 5_000  # events of a lot that are made one by one together
REMEMBERED_IDS = 1 << 20  # about 100 MB


Lot = EventLot | list[Interaction]


class Rejects:
    """Counts rows that cannot be events by reason, and lists them all in a file of JSON Lines."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self.file = file
        self.counts: Counter[str] = Counter()
        self.first_lines: dict[str, list[int]] = {}
        self._stream = file.open("wb")

    def add(self, line: int, problem: RowProblem, source: str) -> None:
        """One row that was not sent."""
        self.counts[problem.reason] += 1
        shown = self.first_lines.setdefault(problem.reason, [])
        if len(shown) < SHOWN_LINES:
            shown.append(line)
        entry = {"file": source, "line": line, "reason": problem.reason, "detail": problem.detail}
        self._stream.write(msgspec.json.encode(entry) + b"\n")

    def close(self) -> None:
        """Completes the file."""
        self._stream.close()


class ItemNews:
    """Which items of the rows are news: at first sight, and when they changed, at most once a day of event time."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[Item, int]] = {}

    def news(self, item: Item, timestamp: int) -> Item | None:
        """The item as it should stand on `items`, None when that is known already."""
        told = self._told.get(item.item_id)
        if told is None:
            self._told[item.item_id] = (item, timestamp)
            return item
        before, when = told
        merged = msgspec.structs.replace(
            item, title=item.title or before.title, category=item.category or before.category
        )
        if merged == before or timestamp - when < DAY:
            return None
        self._told[item.item_id] = (merged, timestamp)
        return merged


@dataclass(frozen=True)
class Plan:
    """What to replay and how. `speed` None is as fast as Kafka takes it, 1.0 the pace of the log."""

    file: RowFile
    parse: Parse
    columns: tuple[str, ...] | None  # of a file without a header
    sort: bool
    speed: float | None
    limit: int | None = None
    items: Path | None = None
    shift_to_now: bool = False

    @property
    def name(self) -> str:
        """The stem of event ids: the file's name without its suffixes."""
        return self.file.path.name.split(".", 1)[0]


@dataclass
class Status:
    """How far a replay is, told to whoever shows it."""

    phase: str = "reading"
    rows: int = 0  # of the file, read so far
    fraction: float = 0.0  # of the file, read so far
    events: int = 0  # in the replay's order, acknowledged by Kafka now or in an earlier run
    resumed_from: int = 0
    items: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    at: int = 0  # event time of the newest acknowledged event


def read_log(plan: Plan, decoder: Decoder, rejects: Rejects, status: Status, now: int) -> Iterator[Lot]:
    """The file's events in lots, in its own order, with ids, checked as a worker checks them at `now` (epoch ms).

    Where all rows of a lot are regular it is one of columns.
    """
    check, source = _Check(decoder, now), plan.file.path.name
    for lot in plan.file.lots(plan.columns):
        events = plan.parse.block(lot.named()) if isinstance(lot, Block) else None
        status.fraction = plan.file.bytes_read / max(1, plan.file.bytes)
        if isinstance(lot, Block) and events is not None:
            columns = EventLot(events, np.arange(lot.line, lot.line + len(events.times)), plan.name)
            status.rows += len(columns)
            if check.is_good(columns):
                yield columns
            else:
                yield check.kept(zip(itertools.count(lot.line), columns.interactions(), strict=False), rejects, source)
        else:
            rows = [*lot.rows()] if isinstance(lot, Block) else lot
            status.rows += len(rows)
            yield check.kept(_of_rows(rows, plan, rejects), rejects, source)


def newest_of(lot: Lot) -> int:
    """The time of the newest event of a lot, 0 of an empty one."""
    if isinstance(lot, EventLot):
        return int(lot.events.times.max(initial=0))
    return max((event.timestamp for event in lot), default=0)


def singly(lots: Iterable[Lot]) -> Iterator[Interaction]:
    """The same events one by one."""
    for lot in lots:
        if isinstance(lot, EventLot):
            for begin in range(0, len(lot), AT_ONCE):
                yield from lot[begin : begin + AT_ONCE].interactions()
        else:
            yield from lot


def _of_rows(rows: Iterable[Row], plan: Plan, rejects: Rejects) -> Iterator[tuple[int, Interaction]]:
    stem = plan.name
    for line, row in rows:
        parsed = row if isinstance(row, RowProblem) else plan.parse(row)
        if isinstance(parsed, RowProblem):
            rejects.add(line, parsed, plan.file.path.name)
            continue
        for number, event in enumerate(parsed):
            event.event_id = f"{stem}-{line}" if len(parsed) == 1 else f"{stem}-{line}-{number}"
            yield line, event


class _Check:
    """The decoder's judgement of events, remembering what it has found good: logs say the same ids again and again."""

    def __init__(self, decoder: Decoder, now: int) -> None:
        self._decoder, self._now = decoder, now
        self._earliest, self._latest = decoder.time_range(now)
        self._good: set[str | None] = {None}
        self._types: set[str] = set()
        self._id_lengths: set[int] = set()  # of event ids, which differ in their digits alone

    def is_good(self, lot: EventLot) -> bool:
        """Whether all events of a lot are good."""
        users, items, types, times, sessions = lot.events
        if times.min() < self._earliest or times.max() > self._latest:
            return False
        longest_id, kinds = f"{lot.stem}-{lot.lines[-1]}", types.texts.to_pylist()
        asked = [RawEvent("u", "i", kind, event_id=longest_id) for kind in {*kinds} - self._types]
        new: set[str] = set()
        for part in (users, items, sessions or users):
            new.update((part.longest(),) if part.plain else part.texts.to_pylist())  # the longest speaks for plain ones
        new -= self._good
        asked += [RawEvent(text, text, kinds[0], event_id=longest_id) for text in new]
        if any(isinstance(self._decoder.complete(raw, self._now), Rejection) for raw in asked):
            return False
        self._remember(new, kinds)
        return True

    def kept(self, events: Iterable[tuple[int, Interaction]], rejects: Rejects, source: str) -> list[Interaction]:
        """Those of the events, each with its line, that are good; the others are told to `rejects`."""
        kept = []
        for line, event in events:
            rejection = self._rejection(event)
            if rejection is None:
                kept.append(event)
            else:
                rejects.add(line, RowProblem(rejection.code, rejection.detail), source)
        return kept

    def _rejection(self, event: Interaction) -> Rejection | None:
        good = self._good
        if (
            event.user_id in good
            and event.item_id in good
            and event.session_id in good
            and event.event_type in self._types
            and len(event.event_id) in self._id_lengths
            and self._earliest <= event.timestamp <= self._latest
        ):
            return None
        checked = self._decoder.complete(_raw(event), self._now)
        if isinstance(checked, Rejection):
            return checked
        self._remember((event.user_id, event.item_id, event.session_id), (event.event_type,))
        self._id_lengths.add(len(event.event_id))
        return None

    def _remember(self, ids: Iterable[str | None], types: Iterable[str]) -> None:
        if len(self._good) > REMEMBERED_IDS:
            self._good = {None}
        self._good.update(ids)
        self._types.update(types)


def by_time(events: Iterable[Interaction], run: int = SORTED_RUN) -> Iterator[Interaction]:
    """The same events in order of time, those of one moment as they came; sorted runs wait in temporary files."""
    encoder, source = msgspec.msgpack.Encoder(), iter(events)
    with ExitStack() as stack:
        runs: list[Iterator[Interaction]] = []
        while part := sorted(islice(source, run), key=lambda event: event.timestamp):
            if not runs and len(part) < run:
                runs.append(iter(part))  # all of it: no file needed
                break
            stream = stack.enter_context(tempfile.TemporaryFile())
            for event in part:
                encoded = encoder.encode(event)
                stream.write(len(encoded).to_bytes(4, "big") + encoded)
            stream.seek(0)
            runs.append(_read_run(stream))
        yield from heapq.merge(*runs, key=lambda event: event.timestamp)


def _read_run(stream: IO[bytes]) -> Iterator[Interaction]:
    decoder = msgspec.msgpack.Decoder(Interaction)
    while size := stream.read(4):
        yield decoder.decode(stream.read(int.from_bytes(size, "big")))


def _raw(event: Interaction) -> RawEvent:
    return RawEvent(
        event.user_id,
        event.item_id,
        event.event_type,
        event_id=event.event_id,
        timestamp=event.timestamp,
        session_id=event.session_id,
    )
