"""A user's state as the changelog's row: one msgpack array that any client can read. See docs/messages.md."""

from __future__ import annotations

import msgspec

from stream.state.user_state import ID_BYTES, UserState

VERSION = 2
NO_TEXT = (msgspec.DecodeError, UnicodeDecodeError)  # of bytes that are no msgpack, or have no text where it should be


class UnknownStateVersionError(ValueError):
    """A row was written by a newer release. Operator action: run a worker at least as new as the one that wrote it."""


class DamagedRowError(ValueError):
    """Bytes that are no row: somebody else has written to the changelog. Operator action: see AlluviumDamagedStates."""


class _Row(msgspec.Struct, array_like=True, gc=False):
    """Version 2. Its members are of the types that version 1 has there: an older release can say what it refuses."""

    version: int
    offset: int
    events_applied: int
    items: list[str]
    type_names: list[str]  # distinct
    times: list[int]
    purchased: list[str]
    types: list[int]  # places in `type_names`
    last_recommendation_id: str | None
    last_artifact: str | None
    last_items: msgspec.Raw
    recent_event_ids: bytes


class _FirstRow(msgspec.Struct, array_like=True, gc=False):
    """Version 1."""

    version: int
    offset: int
    events_applied: int
    items: list[str]
    types: list[str]
    times: list[int]
    purchased: list[str]
    recent_event_ids: list[int]
    last_recommendation_id: str | None
    last_artifact: str | None
    last_items: list[str]


class _AnyRow(msgspec.Struct, array_like=True, gc=False):
    version: int
    offset: int


_HEADER = bytes([0x90 | len(_Row.__struct_fields__), VERSION])
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Row)
_ITEMS_DECODER = msgspec.msgpack.Decoder(list[str])
_ANY = msgspec.msgpack.Decoder(_AnyRow)


def pack_items(item_ids: list[str]) -> msgspec.Raw:
    """Ids as a row holds them."""
    return msgspec.Raw(_ENCODER.encode(item_ids))


def unpack_items(packed: msgspec.Raw) -> list[str]:
    """The ids in what `pack_items` made."""
    return _ITEMS_DECODER.decode(packed)


def encode_state(state: UserState, last_items: msgspec.Raw | None = None) -> bytes:
    """The changelog's row, in the newest version; `last_items`, where given, stand for the state's own."""
    names, types = _coded(state.types)
    return _ENCODER.encode(
        (
            VERSION,
            state.offset,
            state.events_applied,
            state.items,
            names,
            state.times,
            state.purchased,
            types,
            state.last_recommendation_id,
            state.last_artifact,
            state.last_items if last_items is None else last_items,
            state.recent_event_ids,
        )
    )


def decode_state(row: bytes) -> UserState:
    """The state in a changelog's row of any version until now.

    Raises UnknownStateVersionError for the future's, DamagedRowError for what is no row.
    """
    state, last_items = decode_but_list(row)
    try:
        state.last_items = unpack_items(last_items)
    except NO_TEXT as error:
        raise DamagedRowError(str(error)) from None
    return state


def decode_but_list(row: bytes) -> tuple[UserState, msgspec.Raw]:
    """`decode_state` with the list served last left packed: few look at it, and it is a third of the work."""
    try:
        return _decode(row)
    except (*NO_TEXT, IndexError, OverflowError) as error:
        raise DamagedRowError(str(error)) from None


def is_older(row: bytes, than: bytes) -> bool:
    """Whether a row is of an earlier state of the same user, whatever their order in the changelog.

    A worker that was taken for dead may still have a row on its way to Kafka when another has gone on from there. What
    is no row is older than any.
    """
    return _stamp(row) < _stamp(than)


def _decode(row: bytes) -> tuple[UserState, msgspec.Raw]:
    if not row.startswith(_HEADER):
        state = _decode_other(row)
        return state, pack_items(state.last_items)
    read = _DECODER.decode(row)
    names, types = read.type_names, read.types
    state = UserState(
        read.offset,
        read.events_applied,
        read.items,
        names * len(types) if len(names) == 1 else [*map(names.__getitem__, types)],
        read.times,
        read.purchased,
        read.recent_event_ids,
        read.last_recommendation_id,
        read.last_artifact,
    )
    return state, read.last_items


def _stamp(row: bytes) -> int:
    try:
        return _ANY.decode(row).offset
    except msgspec.DecodeError:
        return -2


def _coded(types: list[str]) -> tuple[list[str], list[int]]:
    """The distinct types, and for each of `types` which one it is."""
    if not types or types.count(types[0]) == len(types):  # most users do nothing but click
        return types[:1], [0] * len(types)
    names = [*dict.fromkeys(types)]
    return names, [*map(names.index, types)]


def _decode_other(row: bytes) -> UserState:
    version = _ANY.decode(row).version
    if version != 1:
        raise UnknownStateVersionError(f"user state of version {version}, this release knows 1 to {VERSION}")
    read = msgspec.msgpack.decode(row, type=_FirstRow)
    return UserState(
        read.offset,
        read.events_applied,
        read.items,
        read.types,
        read.times,
        read.purchased,
        b"".join(identity.to_bytes(ID_BYTES, "big") for identity in read.recent_event_ids),
        read.last_recommendation_id,
        read.last_artifact,
        read.last_items,
    )
