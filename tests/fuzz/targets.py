"""What is fuzzed: each target takes any bytes and raises AssertionError, or anything, where a decoder is wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from stream.knowledge.catalogue import Catalogue
from stream.knowledge.manifest import ArtifactError, decode_manifest, encode_manifest, named_in
from stream.knowledge.popularity import LivePopularity
from stream.knowledge.serving import Serving
from stream.letters.reading import Letter, RepairError, read_repaired
from stream.letters.replaying import identified
from stream.settings import EventSettings, Settings, SettingsError, read_settings, redacted
from stream.state.row import decode_state, encode_state
from stream.state.user_state import UserState, advance_by
from stream.wire.decoding import ERROR_CODES, Decoder, Rejection
from stream.wire.partitioner import murmur2_partition
from stream.worker.answers import Answers, Version
from stream.worker.batch import Chunk
from stream.worker.requests import Requests
from tests.answering import reply_to
from tests.records import record

RECORDED = 1_795_449_840_000
DECODER = Decoder(EventSettings())
REQUESTS = Requests(DECODER, murmur2_partition, 4, "events")
ARTIFACT = "20261123T121000Z-687e"
SCRATCH = Path(tempfile.gettempdir(), "alluvium-fuzz.toml")


def event(data: bytes) -> None:
    """Taken or refused; what is taken folds into a state whose row reads back."""
    decoded = DECODER.event(data, RECORDED)
    if isinstance(decoded, Rejection):
        return _check(decoded)
    state = UserState()
    advance_by(state, 3, decoded)
    assert decode_state(encode_state(state)) == state
    return None


def item(data: bytes) -> None:
    """Taken or refused; what is taken stands in a catalogue and can be asked for."""
    decoded = DECODER.item(data)
    if isinstance(decoded, Rejection):
        return _check(decoded)
    catalogue = Catalogue()
    catalogue.apply(0, 0, decoded.item_id, decoded)
    assert catalogue.get(decoded.item_id) == decoded
    catalogue.features([decoded.item_id], 64)
    return None


def request(data: bytes) -> None:
    """Answered, forwarded or dead; an answer is JSON."""
    answers = Answers(Version("a", None, (), "s", 7), "now")
    serving = Serving(None, Catalogue(), LivePopularity())
    asked = record(0, data, None, 1, "requests")
    replied = reply_to(REQUESTS, [Chunk("requests", 1, [asked])], serving, answers, lambda _at, _user: None)
    assert replied.replies or replied.forwards or replied.dead
    for reply in replied.replies:
        msgspec.json.decode(reply.made.value)


def manifest(data: bytes) -> None:
    """Read and written back, or an ArtifactError."""
    with suppress(ArtifactError):
        named_in(data)
    try:
        read = decode_manifest(data, ARTIFACT)
    except ArtifactError:
        return
    assert decode_manifest(encode_manifest(read), ARTIFACT) == read


def state_row(data: bytes) -> None:
    """A state whose row reads back, or an error of the codec: no row is half read."""
    try:
        state = decode_state(data)
    except (msgspec.MsgspecError, ValueError, IndexError, OverflowError):
        return
    row = encode_state(state)
    assert encode_state(decode_state(row)) == row


def settings(data: bytes) -> None:
    """Settings that can be shown and digested, or a SettingsError."""
    SCRATCH.write_bytes(data)
    try:
        read = read_settings(SCRATCH, {})
    except SettingsError:
        return
    assert isinstance(read, Settings)
    msgspec.json.encode(redacted(read))
    read.digest()
    Decoder(read.events)


def letter(data: bytes) -> None:
    """Lines of repaired letters, or a RepairError; and an event's bytes get an id or stay."""
    identified(Letter("events", 0, 1, RECORDED, "", "", False, None, data, []))
    with suppress(RepairError):
        read_repaired(data.splitlines())


def _check(rejection: Rejection) -> None:
    assert rejection.code in ERROR_CODES
    assert rejection.detail


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (event, item, request, manifest, state_row, settings, letter)
}
