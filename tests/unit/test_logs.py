"""What a process's log says of others' errors."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest

from stream.logs import Repetitions, set_up_logs
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


def test_what_aiokafka_says_again_and_again_is_counted() -> None:
    """Once in ten seconds for each kind of line and logger, the next with how many were left out; others say all."""
    passes = Repetitions()

    def said(name: str, message: str, second: float) -> object:
        record = logging.LogRecord(name, logging.WARNING, "", 0, message, (second,), None)
        record.created = second
        return getattr(record, "fields", {}).get("left_out", 0) if passes(record) else None

    assert [said("aiokafka", "no node %s", second) for second in (0.0, 1.0, 9.9, 10.0, 25.0)] == [0, None, None, 2, 0]
    assert said("aiokafka", "other %s", 26.0) == said("aiokafka.conn", "no node %s", 26.0) == 0
    assert [said("alluvium.worker", "no node %s", second) for second in (26.0, 26.1)] == [0, 0]
