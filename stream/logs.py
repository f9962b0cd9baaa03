"""Logging: a constant phrase and facts in fields, on standard error."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from stream.settings import LogSettings

REPEAT_SECONDS = 10.0


class Log:
    """`log.info("artifact loaded", artifact=…)`: the phrase never varies, the fields do."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, phrase: str, **fields: object) -> None:
        """What only a developer wants to know."""
        self._logger.debug(phrase, extra={"fields": fields})

    def info(self, phrase: str, **fields: object) -> None:
        """A step of a process: a refresh, a swap, a rebalance."""
        self._logger.info(phrase, extra={"fields": fields})

    def warning(self, phrase: str, **fields: object) -> None:
        """Something an operator may have to look at; the process goes on as it should."""
        self._logger.warning(phrase, extra={"fields": fields})

    def error(self, phrase: str, **fields: object) -> None:
        """A promise is in danger or the process ends."""
        self._logger.error(phrase, extra={"fields": fields})

    def exception(self, phrase: str, **fields: object) -> None:
        """An error with the traceback of the exception in hand."""
        self._logger.exception(phrase, extra={"fields": fields})


class TextFormatter(logging.Formatter):
    """`2026-11-23T16:04:00.123Z INFO alluvium.worker: artifact loaded artifact=…`"""

    def format(self, record: logging.LogRecord) -> str:
        """One line, a traceback below it if there is one."""
        fields = "".join(f" {name}={_text(value)}" for name, value in getattr(record, "fields", {}).items())
        line = f"{_moment(record)} {record.levelname} {record.name}: {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """The same as one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """`time`, `level`, `logger`, `message`, then the fields."""
        line: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def set_up_logs(settings: LogSettings) -> None:
    """Sends everything to standard error; libraries below a warning are silent.

    aiokafka's errors are warnings, and who repeats itself is cut short.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_demote_aiokafka)
    handler.addFilter(Repetitions())
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("alluvium").setLevel(settings.level.upper())


class Repetitions:
    """A filter that lets aiokafka say the same once in REPEAT_SECONDS: while Kafka is away it would hundreds of times.

    The next line of the kind says how many were `left_out`.
    """

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], float] = {}
        self._left_out = Counter[tuple[str, str]]()

    def __call__(self, record: logging.LogRecord) -> bool:
        """Whether it is said."""
        if not _is_of_aiokafka(record):
            return True
        said = record.name, record.msg
        if record.created < self._until.get(said, 0.0):
            self._left_out[said] += 1
            return False
        self._until[said] = record.created + REPEAT_SECONDS
        left_out = self._left_out.pop(said, 0)
        if left_out:
            record.fields = {"left_out": left_out}
        return True


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """A library's logger says nothing meanwhile."""
    logger = logging.getLogger(name)
    disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = disabled


def _demote_aiokafka(record: logging.LogRecord) -> bool:
    """It tries again by itself, or raises, and then we say what that means."""
    if record.levelno == logging.ERROR and _is_of_aiokafka(record):
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def _is_of_aiokafka(record: logging.LogRecord) -> bool:
    return record.name.split(".", 1)[0] == "aiokafka"


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text(value: object) -> str:
    text = str(value)
    return repr(text) if " " in text or not text else text
