"""Tables of results made by hand."""

from __future__ import annotations

import dataclasses

from stream.bench.checking import Checked
from stream.bench.contenders.alone import Alone, Speed
from stream.bench.measuring import Rate
from stream.bench.paced import Idle, Paced
from stream.bench.pacing import Latency
from stream.bench.suites import Throughput
from stream.bench.tables import document
from stream.bench.throughput import Outcome

EXACT = Checked(100, 100, 0, 0, 0, 1, 0)


def cells(text: str, first: str) -> list[str]:
    """The cells of the row that begins with these words."""
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {first} ")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_ratios_are_taken_within_a_round() -> None:
    """Ours is 2, 4 and 3 times as fast in the three rounds, though the medians are 2.5 apart."""
    ours = [Outcome(Rate(per_second, 20.0), EXACT, {"decode": 1.5}) for per_second in (2_000.0, 8_000.0, 3_000.0)]
    theirs = [Outcome(Rate(per_second, 50.0), EXACT, {}) for per_second in (1_000.0, 2_000.0, 1_000.0)]
    alone = [Alone(Speed(4_000.0, 5_000.0), Speed(500.0, 500.0))] * 3
    text = document({"recommend": Throughput("recommend", {"alluvium": ours, "quix": theirs}, alone)}, [])
    assert cells(text, "Quix Streams")[1:5] == ["1,000 (1,000–2,000)", "3.00 (2.00–4.00)", "50.0 (50.0–50.0)", "1.000"]
    assert cells(text, "Alluvium")[1:3] == ["3,000 (2,000–8,000)", ""]
    assert cells(text, "the recommender alone, batches of 256")[2:4] == ["0.75 (0.50–2.00)", "200.0 (200.0–200.0)"]
    assert cells(text, "decode")[1] == "1.5 (1.5–1.5)"


def test_a_contender_that_lost_something_is_shown_as_having_lost_it() -> None:
    """Lists, dead letters and lists for nothing."""
    outcome = Outcome(Rate(10.0, 1.0), Checked(100, 97, 3, 0, 2, 5, 1), {})
    text = document({"transport": Throughput("transport", {"bytewax": [outcome]})}, ["Quix Streams cannot run: no pip"])
    assert cells(text, "Bytewax")[-1].endswith("LOST 4; 2 strange lists")
    assert text.endswith("Quix Streams cannot run: no pip\n")


def test_latencies_and_shares() -> None:
    """Milliseconds of a round; a suite without a result has an empty table."""
    latency = Latency.of({1: 10.0, 2: 20.0, 3: 30.0}, {1: 10.005, 2: 20.010}, 1)
    text = document({"latency": Paced("latency", {"ours": [latency], "theirs": []}), "idle": Idle("idle", [0.02])}, [])
    assert cells(text, "ours")[2:] == ["5.0 (5.0–5.0)", "10.0 (10.0–10.0)", "10.0 (10.0–10.0)", "2", "1"]
    assert "theirs" not in text
    assert "2.0 (2.0–2.0) % of a core" in text
    found = {"ours": [latency, latency], "theirs": [dataclasses.replace(latency, p50=2.5, p99=20.0), latency]}
    text = document({"latency": Paced("latency", found, ("ours", "theirs"))}, [])
    assert cells(text, "ours to theirs")[2::2] == ["1.50 (1.00–2.00) ×", "0.75 (0.50–1.00) ×", ""]
