"""The bystander's accounts of a run, by hand."""

from __future__ import annotations

import msgspec

from stream.settings import EventSettings
from stream.shop.ledger import BAD_MESSAGES, Ledger
from stream.shop.scrape import Samples
from stream.shop.verdict import accounts_balance, better_than_popularity, every_event_has_its_list
from stream.shop.watching import Hits
from stream.wire.decoding import Decoder, Rejection
from stream.wire.messages import EventPosition, Provenance, Recommendation, RecommendedItem

NOW = 1_700_000_000_000


def click(user: str) -> bytes:
    return msgspec.json.encode({"user_id": user, "item_id": "i", "event_type": "click"})


def answer(user: str, partition: int, offset: int, artifact: str | None = None) -> bytes:
    provenance = Provenance(artifact, None, EventPosition("events", partition, offset), "sha256:0", 7)
    items = [RecommendedItem("i", 1.0, ["ann"])]
    fallback = None if artifact else "no_artifact"
    return msgspec.json.encode(
        Recommendation("r", "user", user, None, items, provenance, None, "2026-01-01T00:00:00Z", fallback)
    )


def test_a_list_pays_for_all_earlier_events_of_its_user() -> None:
    """Events of one user may share a list; others' events stay owed; the list may be seen before its event."""
    ledger = Ledger(Decoder(EventSettings()))
    ledger.event(click("a"), 0, 0, NOW)
    ledger.event(click("a"), 0, 1, NOW)
    ledger.event(click("b"), 0, 2, NOW)
    assert ledger.unanswered == 3
    ledger.recommendation(answer("a", 0, 0), NOW / 1000 + 0.005)
    assert ledger.unanswered == 2
    ledger.recommendation(answer("a", 0, 1, "art-1"), NOW / 1000 + 0.010)
    assert ledger.unanswered == 1
    ledger.recommendation(answer("c", 1, 9), NOW / 1000)
    ledger.event(click("c"), 1, 9, NOW)
    assert ledger.unanswered == 1
    assert list(ledger.artifacts) == ["art-1"]
    assert ledger.first_personal == NOW / 1000 + 0.010
    assert not every_event_has_its_list(ledger).held


def test_every_bad_message_of_the_demo_is_bad() -> None:
    """None of the messages that the demo sends as bad decodes to an event."""
    decoder = Decoder(EventSettings())
    assert all(isinstance(decoder.event(value, NOW), Rejection) for _, value in BAD_MESSAGES)


def test_accounts() -> None:
    """In = applied + duplicate + dead, and dead letters are exactly the bad messages: off by one is broken."""
    ledger = Ledger(Decoder(EventSettings()))
    ledger.event(click("a"), 0, 0, NOW)
    ledger.event(b"noise", 0, 1, NOW)
    ledger.dead_letter("not_json")
    assert accounts_balance(2, {"applied": 1, "dead": 1}, ledger, 1).held
    assert not accounts_balance(3, {"applied": 1, "dead": 1}, ledger, 1).held
    assert not accounts_balance(2, {"applied": 2, "dead": 0}, ledger, 1).held
    assert not accounts_balance(2, {"applied": 1, "dead": 1}, ledger, 2).held


def test_equal_to_popularity_is_not_better() -> None:
    """The promise is a higher hit rate, and nothing scored is no proof."""
    assert better_than_popularity(Hits(10, 3, 2)).held
    assert not better_than_popularity(Hits(10, 3, 3)).held
    assert not better_than_popularity(Hits()).held


def test_prometheus_text() -> None:
    """Labels select, missing samples count nothing, and escaped quotes do not end a label."""
    samples = Samples('# HELP a_total x\na_total{k="20",t="say \\"hi\\""} 3.0\na_total{k="10"} 1\nb 2e3\n')
    assert samples.total("a_total", k="20") == 3.0
    assert samples.total("a_total") == 4.0
    assert samples.total("b") == 2000.0
    assert samples.total("c") == 0.0
