"""The demo's summary: every promise that a bystander can check, and whether it held."""

from __future__ import annotations

import msgspec

from stream.shop.ledger import Ledger
from stream.shop.watching import DEPTH, Hits


class Check(msgspec.Struct, frozen=True):
    """One promise, whether it held, and the figures it was judged by."""

    promise: str
    held: bool
    figures: str


class ArtifactQuality(msgspec.Struct, frozen=True):
    """What was scored while an artifact served (`none`: before the first)."""

    artifact: str
    events: int
    hit_rate: float
    popular_hit_rate: float


class Summary(msgspec.Struct, frozen=True):
    """What a demo came to; `ok` only if every check held."""

    ok: bool
    checks: list[Check]
    seconds: float
    events: int
    lists: int
    reactions: int
    artifacts: list[str]
    hit_rate: float
    popular_hit_rate: float
    depth: int
    by_artifact: list[ArtifactQuality]
    event_to_list_ms: dict[str, float]
    dead_letters: dict[str, int]
    first_personal_list_seconds: float | None
    directory: str


def every_event_has_its_list(ledger: Ledger) -> Check:
    """Each valid event was seen by a list of its user."""
    owed = ledger.unanswered
    return Check(
        "a list for every event",
        owed == 0 and ledger.lists > 0,
        f"{ledger.valid:,} valid events, {owed:,} without a list",
    )


def accounts_balance(log_end: int, outcomes: dict[str, int], ledger: Ledger, bad_sent: int) -> Check:
    """The worker's counters add up to the log, and the bad messages sent are the dead letters."""
    counted = sum(outcomes.get(name, 0) for name in ("applied", "duplicate", "dead"))
    dead_letters = sum(ledger.dead.values())
    held = counted == log_end == ledger.records and outcomes.get("dead", 0) == dead_letters == bad_sent
    facts = " + ".join(f"{outcomes.get(name, 0):,} {name}" for name in ("applied", "duplicate", "dead"))
    return Check(
        "in = applied + duplicate + dead",
        held,
        f"{log_end:,} in, {facts}; {bad_sent} bad sent, {dead_letters} dead letters",
    )


def better_than_popularity(hits: Hits) -> Check:
    """Over the whole run, our lists held the next item more often than the list of the most popular ones."""
    ours, popular = hits.rates() or (0.0, 0.0)
    figures = f"hit rate@{DEPTH} {ours:.3f} against {popular:.3f} over {hits.events:,.0f} events"
    return Check("hit rate above popularity's", ours > popular, figures)


def no_error_logged(errors: list[str]) -> Check:
    """Worker and trainer logged no error."""
    return Check("no error logged", not errors, "none" if not errors else f"{len(errors)}, first {errors[0]}")


def enough_artifacts(served: list[str], wanted: int) -> Check:
    """As many artifacts as asked for have served."""
    return Check(f"{wanted} artifacts served", len(served) >= wanted, f"{len(served)}: {', '.join(served)}")


def ended_in_order(statuses: dict[str, int]) -> Check:
    """SIGTERM ended the children with exit code 0."""
    figures = ", ".join(f"{name} {status}" for name, status in statuses.items())
    return Check("processes ended in order", all(status == 0 for status in statuses.values()), figures)
