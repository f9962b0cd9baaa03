"""Lists put together from pieces are what msgspec writes for the messages of the contract, byte for byte."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.state.row import pack_items
from stream.state.user_state import UserState
from stream.wire.messages import EventPosition, Provenance, Reason, Recommendation, RecommendedItem
from stream.wire.times import to_iso
from stream.worker.answers import Answers, Version
from tests.made_lists import made_list

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
lengths = st.sampled_from([31, 32, 255, 256, 65_535, 65_536])  # where msgpack's texts take another head
ids = text | st.text(st.sampled_from("aé"), max_size=40) | lengths.map("x".__mul__)
names = st.lists(st.sampled_from(["ann", "sessions", "covisitation", "trending", "new"]), max_size=3)
numbers = st.floats() | st.floats(0, 1, width=32)
scores_of = numbers | st.floats(-2, 2, width=32) | st.integers(-3, 10**10).map(float) | st.floats(-2e-5, 2e-5)
chances = numbers | st.floats(0, 1) | st.floats(0, 2e-5)
places = st.tuples(ids, scores_of, names, st.lists(text, max_size=2), chances)
optional = st.none() | text
versions = st.builds(
    Version, optional, optional, st.just(((0, 3),)), text.map("sha256:".__add__), st.integers(-(2**63), 2**63 - 1)
)


@given(
    st.lists(places, max_size=5) | st.lists(places, min_size=15, max_size=17),
    versions,
    text,
    optional,
    st.none() | st.builds(EventPosition, text, st.integers(0, 99), st.integers(-1, 2**62)),
    st.sampled_from(["popular", "unknown_user", None]),
    st.booleans(),
    st.booleans(),
)
def test_a_list_from_pieces_is_what_msgspec_writes(  # noqa: PLR0917
    columns: list[tuple[str, float, list[str], list[str], float]],
    version: Version,
    asked_by: str,
    user_id: str | None,
    seen: EventPosition | None,
    fallback: str | None,
    reasons: bool,
    certain: bool,
) -> None:
    """Any ids, numbers, reasons, provenance and absent fields, for events and for requests: the same message."""
    item_ids, scores = [place[0] for place in columns], [place[1] for place in columns]
    sources, drawn = [place[2] for place in columns], [1.0 if certain else place[4] for place in columns]
    because = [place[3] if reasons else [] for place in columns]
    ranked = made_list(item_ids, scores, sources, chances=drawn, because=because, fallback=fallback)
    assert (ranked.item_ids, ranked.because, ranked.fallback) == (item_ids, because, fallback)
    assert [*map(set, ranked.sources)] == [*map(set, sources)]
    assert ranked.scores == pytest.approx(scores, abs=6e-7, rel=1e-15, nan_ok=True)
    for told, chance in zip(ranked.propensities, drawn, strict=True):
        assert not 0.0 <= chance <= 1.0 or (told > 0.0 and told == pytest.approx(chance, abs=1e-9))
    items = [
        RecommendedItem(item_id, score, source, chance, Reason(why) if why else None)
        for item_id, score, source, why, chance in zip(*ranked.columns(), strict=True)
    ]
    answers, clock = Answers(version, "2026-11-23T12:00:00.000Z"), "2026-11-23T12:00:00.000Z"
    provenance = Provenance(version.artifact, version.parent, seen, version.settings, version.seed)

    made = answers.for_request("user", asked_by, b"{}", ranked, now=5, partition=0, user_id=user_id, seen=seen)
    written = Recommendation(
        made.recommendation_id, "user", user_id, asked_by, items, provenance, to_iso(5), clock, fallback
    )
    assert made.value == msgspec.json.encode(written)
    assert bytes(made.packed) == bytes(pack_items(item_ids))

    if seen is not None:
        made = answers.for_user(asked_by, UserState(times=[]), seen, ranked)
        written = Recommendation(
            made.recommendation_id, "user", asked_by, None, items, provenance, None, clock, fallback
        )
        assert made.value == msgspec.json.encode(written)
