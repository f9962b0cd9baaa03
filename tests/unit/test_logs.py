"""What a process's log says of others' errors."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from stream.logs import set_up_logs
from stream.settings import LogSettings


@pytest.fixture
def root_logger() -> Iterator[None]:
    """The root logger as it was, afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()  # or setting up would close them
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("root_logger")
def test_an_error_that_aiokafka_gets_over_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """A group's coordinator that is not there yet is asked for again; others' errors stay what they are."""
    set_up_logs(LogSettings(format="json"))
    for name in ("aiokafka.consumer.group_coordinator", "aiokafkaesque", "alluvium.worker"):
        logging.getLogger(name).error("not there")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["level"] for line in lines] == ["WARNING", "ERROR", "ERROR"]
