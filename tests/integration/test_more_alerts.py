"""Failures of learning, of resources and of processes side by side raise their alerts, and mended they let it be: the
committed rules in a hurry, in a real Prometheus, as in `test_alerts.py`. Each story has a shop of its own.
"""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream.failpoints import VARIABLE
from stream.shop.broker import Broker
from tests.alert_kit import PATIENCE, Watched
from tests.worker_kit import Shop, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

NO_WORKER = ("AlluviumNoWorker",)  # what a shop without one raises all the time
NO_TRAINER = ("AlluviumTrainerDown", "AlluviumNoArtifact")
OF_A_SHOP = ("ALLUVIUM_KAFKA__TOPIC_PREFIX", "ALLUVIUM_WORKER__GROUP_ID", "ALLUVIUM_ARTIFACTS__URL")
HELD = 100  # connections, of the 128 that a process keeps
# In a mount namespace of its own: a container that may use $0 bytes, or a disk of $0 bytes at the place $1.
CONTAINER = 'mount -t tmpfs none /sys/fs/cgroup && echo "$0" > /sys/fs/cgroup/memory.max && exec "$@"'
DISK = 'size=$0; place=$1; shift; mkdir -p "$place" && mount -t tmpfs -o size=$size none "$place" && exec "$@"'
UNSHARE = ("unshare", "--map-root-user", "--mount")


@pytest.fixture
def shop(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> Iterator[Watched]:
    """Topics and shoppers; each story starts the processes that it is about."""
    shop = Watched(kafka_broker, topic_prefix, tmp_path, others={"AlluviumCrashLoop": 4.0})
    try:
        shop.create_topics()
        shop.shop_on()
        yield shop
    finally:
        shop.close()


@pytest.fixture(scope="module")
def own_mounts() -> None:
    """Skips where we may not have mounts that nobody else sees."""
    command = [*UNSHARE, "mount", "-t", "tmpfs", "none", "/sys/fs/cgroup"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no mounts of our own here: {error}")
    if done.returncode:
        pytest.skip(f"no mounts of our own here: {done.stderr.strip()}")


@pytest.mark.soak
def test_a_trainer_that_fails_and_one_without_kafka(shop: Watched) -> None:
    """Where each refresh fails no artifact serves; a trainer told of a broker where none is waits for it."""
    shop.start("worker")
    shop.start("trainer", **{VARIABLE: "refresh.fit=error"})
    shop.start("trainer-2", ALLUVIUM_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1")
    shop.prometheus.wait_for("AlluviumRefreshFailed", "AlluviumNotReady", "AlluviumNoArtifact")
    shop.stop_process("trainer-2")
    shop.stop_process("trainer")
    shop.start("trainer")
    shop.prometheus.wait_for_peace()


@pytest.mark.soak
def test_trainers_that_lead_together_or_not_at_all(shop: Watched, kafka_broker: Broker) -> None:
    """Another shop's trainer is watched as one with ours. When it has gone and one stands by, the one that leads is
    killed: until its session ends nobody leads, then the other one does.
    """
    other = Shop(kafka_broker, shop.prefix + "other.", shop.directory / "other").create_topics()
    shop.start("trainer", ALLUVIUM_TRAINER__SESSION_TIMEOUT_SECONDS="30")
    shop.start("trainer-2", **{name: other.environment[name] for name in OF_A_SHOP})
    shop.prometheus.wait_for("AlluviumTwoTrainersLead")
    shop.stop_process("trainer-2")
    shop.start("trainer-3")
    shop.wait_until_ready("trainer-3")
    shop.kill_process("trainer")
    shop.miss_no_more("trainer")
    shop.prometheus.wait_for("AlluviumNoTrainerLeads")
    shop.prometheus.wait_for_peace(*NO_WORKER)


@pytest.mark.usefixtures("own_mounts")
def test_a_disk_that_is_nearly_full(shop: Watched) -> None:
    """Something else fills the disk of the artifacts until three more fit; then it goes."""
    place = shop.directory / "artifacts"
    trainer = shop.start("trainer", *UNSHARE, "sh", "-c", DISK, "16m", str(place))
    size = wait_until(lambda: shop.prometheus.value("alluvium_artifact_bytes"), "an artifact", PATIENCE)
    shop.shop_off()
    disk = Path(f"/proc/{trainer.pid}/root{place}")
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(int(shutil.disk_usage(disk).free - 3 * size)))
    shop.prometheus.wait_for("AlluviumArtifactStoreFull")
    ballast.unlink()
    shop.prometheus.wait_for_peace(*NO_WORKER)


@pytest.mark.soak
@pytest.mark.usefixtures("own_mounts")
def test_a_container_that_is_too_small(shop: Watched) -> None:
    """It gives a worker as much memory as one like it has been seen to use."""
    shop.start("worker")
    shop.wait_until_ready("worker")
    used = int(shop.prometheus.value("alluvium_process_resident_memory_bytes"))
    shop.stop_process("worker")
    shop.start("worker", *UNSHARE, "sh", "-c", CONTAINER, str(used))
    shop.prometheus.wait_for("AlluviumMemory")
    shop.stop_process("worker")
    shop.start("worker")
    shop.prometheus.wait_for_peace(*NO_TRAINER)


@pytest.mark.soak
def test_a_gate_that_lets_nothing_pass_and_an_old_copy_of_the_store(shop: Watched) -> None:
    """Every refresh is refused, so the artifact grows old; a second worker finds an older one in its own store."""
    shop.start("worker")
    shop.start("trainer")
    shop.wait_until_served(2)
    shop.stop_process("trainer")
    copy = shop.directory / "copy"
    shutil.copytree(shop.directory / "artifacts", copy, ignore=shutil.ignore_patterns(shop.announced()))
    shop.start("trainer", ALLUVIUM_MODEL__INDEX_TOLERANCE="-1")
    shop.start("worker-2", ALLUVIUM_ARTIFACTS__URL=str(copy))
    shop.prometheus.wait_for("AlluviumRefreshRefused", "AlluviumArtifactStale", "AlluviumDifferentArtifacts")
    shop.stop_process("worker-2")
    shop.stop_process("trainer")
    shop.start("trainer")
    shop.prometheus.wait_for_peace()


@pytest.mark.soak
def test_lists_that_leave_out_what_is_bought_again(shop: Watched) -> None:
    """Shoppers buy the same six items in turn. A worker told to leave out what was bought hits nothing, popular items
    are bought; told not to it hits again.
    """
    shop.kind = "purchase"
    shop.start("worker", ALLUVIUM_RECOMMEND__EXCLUDE_PURCHASED="true")
    shop.prometheus.wait_for("AlluviumWorseThanPopular")
    shop.stop_process("worker")
    shop.start("worker", ALLUVIUM_RECOMMEND__EXCLUDE_PURCHASED="false")
    shop.start("trainer")
    shop.prometheus.wait_for_peace()


@pytest.mark.soak
def test_a_trainer_that_dies_whenever_it_starts(shop: Watched) -> None:
    """Killed in its first refresh, started again, and so on until somebody mends it."""

    def again() -> None:
        if "trainer" not in shop.processes or shop.processes["trainer"].poll() is not None:
            shop.start("trainer", **{VARIABLE: "refresh.fit=kill"})

    shop.prometheus.wait_for("AlluviumCrashLoop", meanwhile=again)
    shop.kill_process("trainer")
    shop.start("trainer")
    shop.prometheus.wait_for_peace(*NO_WORKER)


def test_a_worker_in_need(shop: Watched) -> None:
    """Somebody wrote into its changelog, somebody holds connections until hardly a file descriptor is left, and the
    clock of a producer is behind.
    """
    shop.send("state", "eve", b"\xff\xfeno row")
    shop.flush()
    shop.start("worker")
    shop.wait_until_ready("worker")
    shop.click("eve", "i1")

    def click_late() -> None:
        event = {"user_id": "late", "item_id": "i1", "event_type": "click"}
        behind = int(time.time() * 1000) - 30_000
        shop.producer.produce(shop.topic("events"), key="late", value=json.dumps(event), timestamp=behind)
        shop.producer.poll(0)

    with few_descriptors_left(shop, "worker") as hold:

        def meanwhile() -> None:
            hold()
            click_late()

        shop.prometheus.wait_for(
            "AlluviumDamagedStates", "AlluviumFileDescriptors", "AlluviumSlowLists", meanwhile=meanwhile
        )
    shop.prometheus.wait_for_peace(*NO_TRAINER)


@contextlib.contextmanager
def few_descriptors_left(shop: Watched, name: str) -> Iterator[Callable[[], None]]:
    """Connections to a process's HTTP port, beside which there is hardly room; to be called again and again, since the
    process ends each after a while.
    """
    pid = shop.processes[name].pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    held: list[socket.socket] = []

    def hold() -> None:
        for connection in filter(ended, tuple(held)):
            connection.close()
            held.remove(connection)
        while len(held) < HELD:
            held.append(socket.create_connection(("127.0.0.1", shop.port(name))))

    def opened() -> int:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))

    enough = opened() + 0.9 * HELD
    try:
        hold()
        wait_until(lambda: opened() > enough, "connections", PATIENCE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (int(opened() * 1.15), limits[1]))
        yield hold
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        for connection in held:
            connection.close()


def ended(connection: socket.socket) -> bool:
    """Whether the other side has ended it."""
    connection.setblocking(False)
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True
