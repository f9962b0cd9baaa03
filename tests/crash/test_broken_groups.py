"""Groups of workers broken on purpose, under load: afterwards everything is as if nothing had happened."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.crash.breaking import WEIGHTS, shatter
from tests.crash.group import SESSION, Group, running_group
from tests.small_disk import small_disk
from tests.worker_kit import wait_until

pytestmark = pytest.mark.kafka
WORST = {"kill all": 1, "kill amid recovery": 2, "kill amid rebalance": 2, "freeze": 1, "reset": 1, "broker kill": 1}


def break_it(group: Group, seed: int, faults: int, weights: Mapping[str, float], checkpoint: int) -> None:
    group.load.start()
    group.wait_until_ready()
    told = shatter(
        group,
        random.Random(seed),
        enough=lambda told: told.faults.total() >= faults,
        pause=2.5,
        checkpoint=checkpoint,
        weights=weights,
    )
    group.load.finish()
    assert not told.problems


def test_a_few_of_the_worst_in_a_row(tmp_path: Path, topic_prefix: str) -> None:
    """Two workers killed together, amid recovery and amid a rebalance, frozen, cut off, and their broker killed: state,
    lists, ids, dead letters and answers are those of an undisturbed fold of the log.
    """
    with running_group(tmp_path, topic_prefix, workers=2, seed=11, rate=100) as group:
        break_it(group, 11, 6, WORST, 6)


def test_what_a_dead_worker_has_still_on_its_way_sets_nobody_back(tmp_path: Path, topic_prefix: str) -> None:
    """What a worker has sent is held up in the network until others have gone on for long, and then arrives: the
    changelog ends with the newest row of each user all the same, and whoever starts from it goes on from there.
    """
    with running_group(tmp_path, topic_prefix, workers=2, seed=12, rate=200) as group:
        group.load.start()
        group.wait_until_ready()
        held, other = group.places
        held.proxy.hold()
        assert other.worker is not None
        survivor = other.worker
        wait_until(lambda: len(survivor.ready.get("partitions", [])) == 4, "the partitions of the one cut off", 120)
        time.sleep(SESSION / 2)
        held.proxy.heal()
        assert not group.check().problems
        for place in group.places:
            place.kill()
        assert not group.check().problems
        group.load.finish()


def test_who_leaves_and_joins_in_order_has_no_list_sent_again(tmp_path: Path, topic_prefix: str) -> None:
    """Two workers stop and start in turns under load: each commits all that it has answered before others go on."""
    patient = {"ALLUVIUM_WORKER__SESSION_TIMEOUT_SECONDS": "30"}
    with running_group(tmp_path, topic_prefix, workers=2, seed=13, rate=100, **patient) as group:
        group.load.start()
        group.wait_until_ready()
        for place in group.places:
            assert place.worker is not None
            time.sleep(1.5)  # longer than from commit to commit
            place.wanted = False
            assert place.worker.stop() == 0
            time.sleep(1.5)
            place.wanted = True
            group.wait_until_ready()
        oracle = group.check()
        assert not oracle.problems
        assert oracle.counts.resent == 0
        group.load.finish()


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("workers", [1, 2, 3])
def test_faults_of_every_kind(tmp_path: Path, topic_prefix: str, workers: int) -> None:
    """Forty faults of all kinds on one, two and three workers."""
    with running_group(tmp_path, topic_prefix, workers=workers, seed=20 + workers, rate=150) as group:
        break_it(group, 20 + workers, 40, WEIGHTS, 20)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_broker_that_stands_still_for_half_a_minute(tmp_path: Path, topic_prefix: str) -> None:
    """All sessions end meanwhile, and all that was sent arrives at once."""
    with running_group(tmp_path, topic_prefix, workers=2, seed=31, rate=150) as group:
        break_it(group, 31, 2, {"broker long pause": 1}, 1)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_disk_of_the_broker_is_full(tmp_path: Path, topic_prefix: str) -> None:
    """Kafka gives up when it can write no more; once there is room again and it is back, nothing is lost or doubled."""
    disk = tmp_path / "kafka"
    with small_disk(disk, 256), running_group(tmp_path, topic_prefix, workers=2, seed=41, rate=150) as group:
        group.load.start()
        group.wait_until_ready()
        time.sleep(5)
        filler = disk / "filler"
        with filler.open("wb") as file:
            try:
                while True:
                    file.write(b"\0" * (1 << 20))
                    file.flush()
            except OSError:
                pass
        deadline = time.monotonic() + 30
        while group.broker.running and time.monotonic() < deadline:
            group.tend()
            time.sleep(0.2)
        filler.unlink()
        if not group.broker.running:
            group.broker.kill()
            group.broker.start(180)
        assert not group.check().problems
        group.load.finish()
