"""A real Apache Kafka, one node in KRaft mode on loopback, started and stopped as a child process."""

from __future__ import annotations

import fcntl
import random
import shutil
import signal
import socket
import string
import struct
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from stream.shop.children import end, last_lines, signal_group, spawn
from stream.shop.kafka_jars import DEFAULT_CACHE, RECIPE, BrokerError, java_command, kafka_jars

HOST = "127.0.0.1"
FREE_PORTS = range(20_000, 32_000)  # below the range from which systems take the ports of outgoing connections
METADATA_KEY, METADATA_VERSION = (
    3,
    4,
)  # the oldest kind of request that Kafka 4 still answers and librdkafka still sends


class PortTakenError(BrokerError):
    """Somebody listens on the broker's port. Operator action: stop them, or choose another port."""


class Broker:
    """One Kafka node. Its data stay in `data_dir` between runs; a context manager that starts and stops it.

    `port` 0 takes a free one at the first start and keeps it. Raises BrokerError (PortTakenError) with what to do.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        heap: str = "512m",
        jar_cache: Path = DEFAULT_CACHE,
        fresh: bool = False,
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.log_file = self.data_dir / "broker.log"
        self._records = self.data_dir / "records"
        self._port = port
        self._heap = heap
        self._jar_cache = jar_cache
        self._fresh = fresh
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` for clients; fixed from the first start on."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self.running and self._process is not None else None

    @property
    def running(self) -> bool:
        """Whether the process lives (also while paused)."""
        return self._process is not None and self._process.poll() is None

    def start(self, patience_seconds: float = 90.0) -> None:
        """Starts Kafka and returns when it answers a metadata request (about 3 s; longer after a kill)."""
        if self.running:
            raise BrokerError(f"the broker runs already (pid {self.pid})")
        java, jars = java_command(), kafka_jars(self._jar_cache)
        self._lock_data()
        try:
            self._start(java, jars, patience_seconds)
        except BaseException:
            self.stop()
            raise

    def _start(self, java: str, jars: Path, patience_seconds: float) -> None:
        if self._fresh:
            shutil.rmtree(self._records, ignore_errors=True)
            self._fresh = False  # a restart of this object keeps what its first run wrote
        self._port = self._port or free_port()
        if not port_is_free(self._port):
            raise PortTakenError(f"port {self._port} is taken: stop what listens there, or choose another with --port")
        properties = self._write_properties()
        kafka = [java, "-cp", f"{jars}/*", f"-Dlog4j2.configurationFile={RECIPE / 'log4j2.properties'}"]
        if not (self._records / "meta.properties").exists():
            self._format(kafka, properties)
        memory = [f"-Xmx{self._heap}", "-XX:+UseSerialGC"]
        self._process = spawn([*kafka, *memory, "kafka.Kafka", str(properties)], self.log_file)
        self._wait_until_it_answers(patience_seconds)

    def stop(self, patience_seconds: float = 30.0) -> None:
        """Ends Kafka in order (SIGTERM), by force after the patience. One that is not running is no error."""
        if self._process is not None:
            end(self._process, patience_seconds)
            self._process = None
        self._unlock_data()

    def kill(self) -> None:
        """SIGKILL, as a crash would; `start` brings it back on the same port with the same data."""
        if self._process is not None:
            signal_group(self._process, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: the process lives and answers nobody."""
        if self._process is not None:
            signal_group(self._process, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        if self._process is not None:
            signal_group(self._process, signal.SIGCONT)

    def wait(self) -> int:
        """Blocks until the process ends by itself; its exit status."""
        return self._process.wait() if self._process is not None else 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _lock_data(self) -> None:
        if self._lock is not None:
            return
        self.data_dir.mkdir(parents=True, exist_ok=True)
        lock = (self.data_dir / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise BrokerError(f"another broker uses {self.data_dir}: stop it, or choose another --data-dir") from None
        self._lock = lock

    def _unlock_data(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _write_properties(self) -> Path:
        template = string.Template((RECIPE / "server.properties").read_text("utf-8"))
        properties = self.data_dir / "server.properties"
        controller_port = free_port(besides=self._port)
        records = str(self._records).replace("\\", "\\\\")
        properties.write_text(
            template.substitute(port=self._port, controller_port=controller_port, log_dir=records), "utf-8"
        )
        return properties

    def _format(self, kafka: list[str], properties: Path) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")  # may not begin with "-"
        arguments = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
        done = subprocess.run([*kafka, *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BrokerError(f"Kafka could not format {self._records}:\n{(done.stdout + done.stderr)[-1500:]}")

    def _wait_until_it_answers(self, patience_seconds: float) -> None:
        deadline = time.monotonic() + patience_seconds
        while time.monotonic() < deadline:
            if not self.running:
                raise BrokerError(f"Kafka ended while starting; {self.log_file} says:\n{last_lines(self.log_file)}")
            if answers(HOST, self._port):
                return
            time.sleep(0.05)
        raise BrokerError(f"Kafka did not answer within {patience_seconds:.0f} s; see {self.log_file}")


@contextmanager
def running_broker(data_dir: Path, *, port: int = 0, fresh: bool = False) -> Iterator[Broker]:
    """A broker for the length of a `with` block."""
    with Broker(data_dir, port=port, fresh=fresh) as broker:
        yield broker


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Java does: TIME_WAIT is no obstacle
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port(besides: int = 0) -> int:
    """A loopback port that nobody listens on, chosen at random."""
    for _ in range(1000):
        port = random.choice(FREE_PORTS)
        if port != besides and port_is_free(port):
            return port
    raise BrokerError(f"no free port between {FREE_PORTS.start} and {FREE_PORTS.stop}")


def answers(host: str, port: int, patience_seconds: float = 2.0) -> bool:
    """Whether a Kafka broker at this address answers a metadata request and names at least one live broker."""
    client = b"alluvium-probe"
    header = struct.pack(">hhih", METADATA_KEY, METADATA_VERSION, 1, len(client)) + client
    request = header + struct.pack(">i?", 0, False)  # no topics, create none
    try:
        with socket.create_connection((host, port), patience_seconds) as connection:
            connection.settimeout(patience_seconds)
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as response:
                (size,) = struct.unpack(">i", response.read(4))
                _, _, brokers = struct.unpack_from(">iii", response.read(size))  # correlation, throttle time, brokers
    except (OSError, struct.error):
        return False
    return bool(brokers > 0)
