"""What all tests share: one real broker for the whole session, and names that no two tests have in common."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import hypothesis
import pytest

from stream.shop.broker import Broker, running_broker

hypothesis.settings.register_profile("alluvium", deadline=None, print_blob=True)  # no test fails for being slow
hypothesis.settings.load_profile("alluvium")


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One Apache Kafka for the session; tests keep apart by `topic_prefix`. A test that kills one starts its own."""
    with running_broker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics (and groups) that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}."
