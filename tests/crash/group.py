"""A group of real workers under a supervisor that starts again what ends, each behind a network of its own."""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream.shop.broker import free_port
from tests.crash.load import Load
from tests.crash.network import Network, ProxiedBroker, Proxy
from tests.crash.oracle import Oracle
from tests.worker_kit import Shop, Worker, wait_until

SESSION = 6.0  # the least a broker grants
PATIENCE = 180.0


class Place:
    """Where a worker runs; it is started again there when it ends, unless `wanted` is false."""

    def __init__(self, number: int, shop: Shop, proxy: Proxy) -> None:
        self.number, self.proxy = number, proxy
        self.log = shop.directory / f"worker-{number}.log"
        self.worker: Worker | None = None
        self.wanted = True
        self.spared = False  # by faults that end the worker
        self.busy = False  # with a fault that is not over
        self.starts = 0
        self.ends: list[str] = []  # why workers ended that were not asked to
        self.ready_seconds: list[float] = []  # from each start that was left alone
        self._environment = {
            **shop.environment,
            "ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS": proxy.servers,
            "PYTHONFAULTHANDLER": "1",
        }
        self._started: float | None = None
        self._written = 0  # of the log, by the workers before

    @property
    def lives(self) -> bool:
        """Whether a worker runs here."""
        return self.worker is not None and self.worker.process.poll() is None

    def start(self) -> None:
        """A new worker."""
        self._written = self.log.stat().st_size if self.log.exists() else 0
        self.worker = Worker(self._environment, self.log, free_port())
        self._started = time.monotonic()
        self.starts += 1

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the worker, if it lives."""
        if self.worker is not None and self.lives:
            self.worker.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL; returns when it is dead."""
        if self.worker is not None:
            self.worker.kill()
            self.worker, self._started = None, None

    def tend(self) -> None:
        """What a supervisor does, and a look at a clock."""
        if self.worker is not None and not self.lives:
            if self.worker.process.returncode not in {0, -signal.SIGTERM}:  # the latter before it hears of signals
                self.ends.append(reason_of(self.worker.process.returncode, self._last_words()))
            self.worker = None
        if self.worker is None and self.wanted:
            self.start()
        elif self._started is not None and not self.busy and self.ready:
            self.ready_seconds.append(time.monotonic() - self._started)
            self._started = None

    def _last_words(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._written)
            return log.read().decode(errors="replace")

    @property
    def ready(self) -> bool:
        """Whether the worker says so."""
        return self.worker is not None and self.lives and bool(self.worker.ready["ready"])


class Group:
    """Broker, workers, load and oracle of one story."""

    def __init__(self, shop: Shop, broker: ProxiedBroker, *, seed: int, rate: float) -> None:
        self.shop, self.broker = shop, broker
        self.session = SESSION
        self.places = [Place(number, shop, proxy) for number, proxy in enumerate(broker.proxies)]
        self.load = Load(shop.servers, shop.topic, seed=seed, rate=rate)
        self.oracle = Oracle(shop.servers, shop.topic)

    def tend(self) -> None:
        """Starts what has ended."""
        for place in self.places:
            place.tend()

    def wait_until_ready(self) -> Group:
        """Returns once every worker that is wanted says so."""

        def all_ready() -> bool:
            self.tend()
            return all(place.ready for place in self.places if place.wanted)

        try:
            wait_until(all_ready, "all workers to be ready", PATIENCE)
        except AssertionError:
            for place in self.places:
                place.signal(signal.SIGABRT)  # each says in its log where it stands
            raise
        return self

    def ends(self) -> dict[int, int]:
        """Where the events of each partition end now."""
        return self.oracle.ends("events")

    def check(self) -> Oracle:
        """Waits until everything sent so far is answered, and asks the oracle."""
        assert self.load.is_alive(), "the load has ended"
        paused, self.load.paused = self.load.paused, True
        self.wait_until_ready()
        time.sleep(0.1)
        self.load.flush()
        self.oracle.settle(PATIENCE)
        self.load.paused = paused
        return self.oracle

    def close(self) -> None:
        """Ends everything but the broker."""
        for place in self.places:
            place.wanted = False
            place.signal(signal.SIGCONT)
            place.kill()
        self.oracle.close()


@contextmanager
def running_group(
    directory: Path, prefix: str, *, workers: int, seed: int, rate: float, **settings: str
) -> Iterator[Group]:
    """A broker of its own, so many workers, none started yet, and a load that sends once it is started."""
    network = Network()
    try:
        with ProxiedBroker(directory / "kafka", network, workers) as broker:
            shop = Shop(broker, prefix, directory, **settings).create_topics()
            group = Group(shop, broker, seed=seed, rate=rate)
            try:
                yield group
            finally:
                group.close()
    finally:
        network.close()


def reason_of(status: int, log: str) -> str:
    """Why a worker ended: its last error's phrase and kind, as its log has them."""
    errors = re.findall(r" (?:ERROR|CRITICAL) [^ ]*: (.*)$", log, re.MULTILINE)
    if not errors:
        last = log.strip().rsplit("\n", 1)[-1]
        return f"exit status {status}: {last[:120]}"
    phrase, _, error = errors[-1].partition(" error=")
    kind = re.match(r"[\"']*(\w*)", error)
    return f"{phrase[:120]}: {kind[1]}" if kind and kind[1] else phrase[:120]


def chosen(dice: random.Random, places: list[Place], *, deadly: bool) -> Place | None:
    """A place whose worker lives and has no other trouble; `deadly`: what comes would end it."""
    free = [place for place in places if place.lives and not place.busy and not (deadly and place.spared)]
    return dice.choice(free) if free else None
