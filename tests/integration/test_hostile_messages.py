"""A flood of bad records on all three inputs, with good ones among them: nobody stops, nothing is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.shop.broker import Broker
from tests.hostile.run import run, split

pytestmark = pytest.mark.kafka


def test_every_good_record_counts_and_every_bad_one_has_its_letter(
    kafka_broker: Broker, topic_prefix: str, tmp_path: Path
) -> None:
    """Of 20,000 records every good one is applied, every repeated one passed over, and every bad one stands once in
    `dead-letters`, key, value and headers as they came, in each partition; every good request has one answer.
    """
    result = run(kafka_broker, tmp_path, split(20_000), prefix=topic_prefix)
    assert result.counts["events good"] > 30
    assert result.counts["requests bad"] > 5_000
