"""What the trainer remembers: every event once, the old before the new, and exactly what the parent has not learned."""

from __future__ import annotations

import json

from aiokafka.structs import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from stream.knowledge.manifest import PartitionSpan
from stream.logs import Log
from stream.settings import EventSettings, KafkaSettings
from stream.state.user_state import Outcome, Stamped, UserState, advance
from stream.trainer.items import BadRecord, ItemReader, read_item
from stream.trainer.memory import Memory
from stream.trainer.reading import EventReader, RecentIds
from stream.wire.decoding import Decoder, Rejection
from stream.wire.messages import Event
from tests.artifacts import drafted, made_snapshot

TYPES = ("click", "cart", "purchase", "remove", "dislike")


def record(value: bytes | None, offset: int, partition: int = 0, key: bytes = b"k", topic: str = "t") -> ConsumerRecord:
    return ConsumerRecord(topic, partition, offset, 1_700_000_000_000, 0, key, value, None, 0, 0, ())


def click(user: str, item: str, second: int, event_id: str | None = None) -> bytes:
    timestamp = 1_600_000_000_000 + 1000 * second
    event = {"user_id": user, "item_id": item, "event_type": "click", "timestamp": timestamp, "event_id": event_id}
    return json.dumps(event).encode()


@given(st.lists(st.integers(0, 90), max_size=200))
def test_repeated_ids_are_those_that_the_state_calls_duplicates(numbers: list[int]) -> None:
    """For any sequence of a user's event ids, the trainer skips exactly what the fold of user state skips."""
    ids, state = RecentIds(), UserState()
    for offset, number in enumerate(numbers):
        (outcome,) = advance(state, [Stamped(offset, Event("u", "i", "click", 0, event_id=str(number)))])
        assert ids.is_repeated(0, "u", str(number)) == (outcome is Outcome.DUPLICATE)


def test_ids_are_remembered_of_the_users_seen_last() -> None:
    """Memory is bounded by users: the one not seen for longest is forgotten first."""
    ids = RecentIds(users=2)
    assert [ids.is_repeated(0, user, "x") for user in ("a", "b", "a", "c")] == [False, False, True, False]
    assert ids.is_repeated(0, "a", "x")
    assert not ids.is_repeated(0, "b", "x")


def reader_with(records: list[ConsumerRecord], *, is_new: bool = True) -> EventReader:
    reader = EventReader(KafkaSettings(), "t", Decoder(EventSettings()), Log("test"))
    for one in records:
        reader._add(one.partition, [one], is_new=is_new)
    return reader


def test_arrivals_come_in_order_of_event_time_the_learned_ones_first() -> None:
    """Records of several partitions, read one after the other, leave as one log; bad ones and retries do not."""
    reader = reader_with([record(click("u", "a", 30), 0), record(click("u", "b", 50), 1)], is_new=False)
    for offset, value in enumerate([click("u", "c", 20, "e"), click("u", "c", 20, "e"), b"{", click("u", "d", 10)]):
        reader._add(1, [record(value, offset, 1)], is_new=True)
    arrivals, positions = reader.take()
    assert [arrival.event.item_id for arrival in arrivals] == ["a", "b", "d", "c"]
    assert [arrival.is_new for arrival in arrivals] == [False, False, True, True]
    assert positions == {0: 2, 1: 4}
    assert reader.take()[0] == []


def memory_of(most: int = 100) -> Memory:
    return Memory(TYPES, most, {0: 2})


def items_of(*values: bytes | None, first: int = 0) -> ItemReader:
    bad: list[BadRecord] = []
    items = ItemReader(Decoder(EventSettings()), bad.append)
    for offset, value in enumerate(values, first):
        items.apply(record(value, offset, key=b"i9"))
    return items


def test_the_window_forgets_the_oldest_and_counts_what_is_new() -> None:
    """Of ten events the newest four stay; no more than these are new, and after a refresh none is."""
    memory, snapshot = memory_of(most=4), made_snapshot()[0]
    memory.absorb(reader_with([record(click("u", f"i{n}", n), n) for n in range(10)]), items_of())
    assert memory.window.column("offsets").tolist() == [6, 7, 8, 9]
    assert (memory.new_events, memory.has_news, memory.positions) == (4, True, {0: 10})
    memory.begin()
    memory.learned(snapshot)
    assert (memory.new_events, memory.has_news, memory.parent) == (0, False, snapshot)


def test_what_a_failed_refresh_began_with_is_still_news() -> None:
    """An error (a full disk, a store that is away) needs no new event to be tried again; a refusal does."""
    memory = memory_of()
    memory.absorb(reader_with([record(click("u", "i", n), n) for n in range(10)]), items_of())
    memory.begin()
    assert not memory.has_news
    memory.failed()
    assert memory.has_news
    memory.begin()
    assert not memory.has_news


def test_only_items_that_the_parent_has_not_seen_are_news() -> None:
    """The catalogue is read whole at every start; records below the parent's position are known, later ones news."""
    memory = memory_of()
    memory.absorb(reader_with([]), items_of(b'{"item_id": "a"}', b'{"item_id": "b"}'))
    assert not memory.has_news and len(memory.catalogue) == 2
    memory.absorb(reader_with([]), items_of(b'{"item_id": "c"}', first=2))
    assert memory.has_news and memory.item_positions == {0: 3}


def test_after_a_rollback_what_came_since_is_new_again() -> None:
    """A promoted older artifact has not learned from the events behind its window."""
    memory, snapshot = memory_of(), made_snapshot()[0]
    memory.absorb(reader_with([record(click("u", "i", n), n) for n in range(10)]), items_of())
    memory.learned(snapshot)
    window = drafted(snapshot).window
    manifest = drafted(snapshot, window=type(window)("events", 7, {0: PartitionSpan(0, 7)}))
    memory.go_on_from(snapshot, manifest)
    assert memory.new_events == 3


def test_a_record_of_items_is_an_item_a_tombstone_or_bad() -> None:
    """A tombstone is named by its key; without one, and for anything that is no item, there is a reason."""
    decoder = Decoder(EventSettings())
    found = read_item(record(b'{"item_id": "a"}', 4, 2, b"ignored"), decoder)
    assert not isinstance(found, Rejection) and (found.partition, found.offset, found.item_id) == (2, 4, "a")
    gone = read_item(record(None, 5, 0, b"a"), decoder)
    assert not isinstance(gone, Rejection) and (gone.item_id, gone.item) == ("a", None)
    codes = [
        read.code
        for read in (read_item(record(value, 0, 0, key), decoder) for value, key in BAD)
        if isinstance(read, Rejection)
    ]
    assert codes == ["missing_field", "not_json", "not_json", "missing_field", "wrong_type"]


BAD = [(None, b""), (None, b"\xff"), (b"\x00", b"a"), (b"{}", b"a"), (b'{"item_id": 1}', b"a")]
