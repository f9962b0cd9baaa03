"""The demo's own household: a fresh directory, settings, Kafka, one worker and one trainer, all ended at the end."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO

import msgspec

from stream.settings import ENVIRONMENT_PREFIX, Settings, read_settings
from stream.shop.broker import HOST, Broker, free_port
from stream.shop.children import end, last_lines, spawn
from stream.shop.kafka_jars import kafka_jars

MIN_EVENTS = 500  # a first artifact from fewer events would hardly show anything
OURS = ("kafka", "artifacts", "cache", "logs")  # what a fresh start removes, and nothing else
COMPILE = (sys.executable, "-m", "stream.knowledge.compiling")
ERRORS = ("ERROR", "CRITICAL")


class DemoError(RuntimeError):
    """The demo cannot go on. Operator action: do what the message says; the logs it names tell more."""


@dataclass
class Household:
    """Directories and child processes of one demo; a context manager that ends every child."""

    directory: Path
    refresh_seconds: float
    environment: Mapping[str, str]
    say: Callable[[str], None]
    broker: Broker = field(init=False)
    settings: Settings = field(init=False)
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _lock: IO[str] | None = None

    def __enter__(self) -> Household:
        self.directory = self.directory.resolve()
        self._take_directory()
        self.broker = Broker(self.directory / "kafka", fresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end_children()
        self.broker.stop()
        if self._lock is not None:
            self._lock.close()

    def prepare(self) -> None:
        """Fetches Kafka and compiles what is compiled, both for the first time only. Raises BrokerError, DemoError."""
        compiling = spawn(COMPILE, self.log_file("compiling"), environment=self.environment)
        try:
            kafka_jars()
            status = compiling.wait()
        finally:
            end(compiling)
        if status != 0:
            log = self.log_file("compiling")
            raise DemoError(f"compiling ended with status {status}; {log} ends:\n{last_lines(log)}")

    def start_broker(self) -> None:
        """Starts Kafka, and writes the settings that its address is part of. Raises BrokerError."""
        self.broker.start()
        file = self.directory / "alluvium.toml"
        values = self._values()
        file.write_text(_toml(values), "utf-8")
        theirs = {f"{ENVIRONMENT_PREFIX}{section}__{key}".upper() for section in values for key in values[section]}
        self.environment = {name: value for name, value in self.environment.items() if name.upper() not in theirs}
        self.settings = read_settings(file, self.environment)

    def start_child(self, name: str) -> None:
        """Starts `alluvium NAME` with the demo's settings; its log goes to `logs/NAME.log`."""
        command = [sys.executable, "-m", "stream.cli", "--config", str(self.directory / "alluvium.toml"), name]
        self.children[name] = spawn(
            command,
            self.log_file(name),
            environment=self.environment,
            orphan_signal=signal.SIGKILL,  # Kafka ends at the same moment, and an orderly stop would wait for it
        )

    def log_file(self, name: str) -> Path:
        """Where a child writes its log."""
        return self.directory / "logs" / f"{name}.log"

    def url(self, name: str, path: str) -> str:
        """A child's HTTP address."""
        port = self.settings.worker.http_port if name == "worker" else self.settings.trainer.http_port
        return f"http://{HOST}:{port}{path}"

    def check_children(self) -> None:
        """Raises DemoError with the end of its log when a child has ended by itself."""
        for name, process in self.children.items():
            status = process.poll()
            if status is not None:
                log = self.log_file(name)
                raise DemoError(f"the {name} ended by itself with status {status}; {log} ends:\n{last_lines(log)}")
        if not self.broker.running:
            raise DemoError(f"Kafka ended by itself; {self.broker.log_file} ends:\n{last_lines(self.broker.log_file)}")

    def end_children(self) -> dict[str, int]:
        """Ends worker and trainer in order; their exit statuses."""
        return {name: end(process) for name, process in self.children.items()}

    def errors_logged(self) -> list[str]:
        """Lines of the children's logs that are errors, or no log lines at all but a traceback."""
        found = []
        for name in self.children:
            for line in self.log_file(name).read_text("utf-8", "replace").splitlines():
                if _is_error(line):
                    found.append(f"{name}: {line[:300]}")
        return found

    def _take_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock = (self.directory / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"another demo runs in {self.directory}: stop it, or choose another --directory") from None
        for name in OURS:
            shutil.rmtree(self.directory / name, ignore_errors=True)
        (self.directory / "logs").mkdir()

    def _values(self) -> dict[str, dict[str, str | int | float]]:
        return {
            "kafka": {"bootstrap_servers": self.broker.bootstrap_servers, "security_protocol": "PLAINTEXT"},
            "worker": {"http_host": HOST, "http_port": free_port()},
            "trainer": {
                "http_host": HOST,
                "http_port": free_port(),
                "refresh_seconds": self.refresh_seconds,
                "min_events": MIN_EVENTS,
            },
            "artifacts": {"url": str(self.directory / "artifacts"), "cache_dir": str(self.directory / "cache")},
            "log": {"format": "json"},
        }


def _toml(values: Mapping[str, Mapping[str, str | int | float]]) -> str:
    lines = ["# Written by `alluvium demo`. Use it beside the running demo: alluvium --config THIS_FILE recommend USER"]
    for section, keys in values.items():
        lines += [
            "",
            f"[{section}]",
            *(f"{key} = {msgspec.json.encode(value).decode()}" for key, value in keys.items()),
        ]
    return "\n".join(lines) + "\n"


def _is_error(line: str) -> bool:
    try:
        entry = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return line.startswith("Traceback ") or "Fatal Python error" in line
    return isinstance(entry, dict) and entry.get("level") in ERRORS


def own_environment() -> dict[str, str]:
    """The environment that children inherit: output unbuffered, and threads that wait do not spin."""
    return {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "PYTHONUNBUFFERED": "1"}
