"""Dead letters looked at, repaired and put back, on the real broker with a real worker: each once, however often."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from stream.shop.broker import Broker
from stream.wire.partitioner import murmur2_partition
from tests.worker_kit import PARTITIONS, Shop, wait_until

pytestmark = pytest.mark.kafka

TELEPORT = '[{"name": "click", "weight": 1, "aliases": ["teleport"]}]'
NOISE = b"\x00\xff\xfe"


@pytest.fixture
def shop(kafka_broker: Broker, topic_prefix: str, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(kafka_broker, topic_prefix, tmp_path).create_topics()
    yield shop
    shop.close()


def replayed(shop: Shop, *arguments: str, given: str | None = None) -> dict[str, Any]:
    """What `dead-letters replay` says it did."""
    done = shop.alluvium("dead-letters", "replay", "--json", *arguments, given=given)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def listed(shop: Shop, *arguments: str) -> list[dict[str, Any]]:
    done = shop.alluvium("dead-letters", "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def items_of(shop: Shop) -> dict[str, list[str]]:
    """Each user's history, oldest first."""
    states = [json.loads(line) for line in shop.alluvium("state").stdout.splitlines()]
    return {state["user_id"]: [event["item_id"] for event in state["history"]] for state in states}


def test_letters_go_back_once_when_settings_or_values_were_repaired(shop: Shop) -> None:
    """Users whose bad events are put back have exactly the states that good events would have given them, after a
    first replay of a part, a second of all and a third; and after a record that two replays at a time would have sent.
    """
    worker = shop.start_worker().wait_until_ready()
    shop.click("ann", "hat")
    shop.click("ann", "coat", "teleport")
    shop.send("events", "bob", '{"user_id": "bob", "item_id": "shoe", "event_type": "teleport"}', headers=[("h", b"1")])
    shop.click("cleo", "scarf", "teleport", event_id="c-1", timestamp="2026-11-23T16:04:00Z")
    shop.send("events", "dee", '{"user_id": "dee", "item_id": "belt", "event_type"')
    shop.send("events", None, NOISE, partition=1)
    shop.flush()
    letters = wait_until(lambda: len(found := listed(shop)) == 5 and found, "five letters")

    # looking
    assert [line["source"] for line in listed(shop, "--reason", "unknown_event_type", "--topic", "items")] == []
    assert {line["reason"] for line in listed(shop, "--reason", "not_json")} == {"not_json"}
    assert len(listed(shop, "--limit", "2")) == 2
    assert len(listed(shop, "--until", "2001-01-01T00:00:00Z")) == 0
    (noise,) = [line for line in letters if not isinstance(line["value"], str)]
    assert (noise["key"], noise["value"], noise["source"]) == (None, {"base64": "AP/+"}, f"{shop.topic('events')}-1-0")
    table = shop.alluvium("dead-letters", "list").stdout
    assert "unknown_event_type" in table.replace("\n", "")
    assert shop.alluvium("dead-letters", "list", "--since", "noon").returncode == 2

    # nothing has been repaired
    assert replayed(shop) | {"still_bad": 0} == dict.fromkeys(replayed(shop), 0) | {"dry_run": False}
    assert replayed(shop)["still_bad"] == {"unknown_event_type": 3, "not_json": 2}

    # the settings know the type: one partition first, as a replay killed in between would have left it
    assert worker.stop() == 0
    shop.environment["ALLUVIUM_EVENTS__TYPES"] = TELEPORT
    shop.start_worker().wait_until_ready()
    assert replayed(shop, "--dry-run")["sent"] == 3
    home = murmur2_partition(b"ann", PARTITIONS)
    part = replayed(shop, "--partition", str(home))["sent"]
    rest = replayed(shop)
    assert (part + rest["sent"], rest["sent_before"]) == (3, part)
    assert part >= 1
    assert replayed(shop)["sent_before"] == 3

    # a value was repaired by hand
    line = next(line for line in letters if line["key"] == "dee")
    repaired = json.dumps(line | {"value": '{"user_id": "dee", "item_id": "belt", "event_type": "click"}'}) + "\n"
    (shop.directory / "repaired.jsonl").write_text(repaired)
    assert replayed(shop, "--from-file", "repaired.jsonl")["sent"] == 1
    assert replayed(shop, "--from-file", "-", given=repaired)["sent_before"] == 1

    # as another replay at the same moment would
    again = next(record for record in shop.read("events") if record.headers() and b"bob" in record.value()
                 and "alluvium-replayed" in dict(record.headers()))  # fmt: skip
    assert dict(again.headers()) == {"h": b"1", "alluvium-replayed": source_of(letters, "bob").encode()}
    assert json.loads(again.value())["event_id"] == source_of(letters, "bob")
    shop.send("events", "bob", again.value())
    shop.click("bob", "last")
    shop.flush()
    wanted = {"ann": ["hat", "coat"], "bob": ["shoe", "last"], "cleo": ["scarf"], "dee": ["belt"]}
    wait_until(lambda: items_of(shop) == wanted, "every event applied once")


def source_of(letters: list[dict[str, Any]], key: str) -> str:
    return str(next(line["source"] for line in letters if line["key"] == key))


def test_a_letter_never_takes_the_place_of_a_newer_item(shop: Shop) -> None:
    """A repaired item goes to the catalogue while it is the newest that is said of it, and never again after."""
    trainer_writes = [("alluvium-error", b"not_json"), ("alluvium-source", f"{shop.topic('items')}-0-0".encode())]
    shop.send("items", "hat", "{", partition=0)
    shop.flush()
    shop.send("dead-letters", "hat", "{", partition=0, headers=trainer_writes)
    shop.flush()
    (line,) = listed(shop, "--topic", "items")
    repaired = json.dumps(line | {"value": '{"item_id": "hat", "title": "repaired"}'})
    assert replayed(shop, "--from-file", "-", given=repaired)["sent"] == 1
    assert replayed(shop, "--from-file", "-", given=repaired)["sent_before"] == 1
    home = murmur2_partition(b"hat", PARTITIONS)
    shop.send("items", "hat", {"item_id": "hat", "title": "newer"}, partition=home)
    shop.flush()
    assert replayed(shop, "--from-file", "-", given=repaired)["superseded"] == 1
    titles = [json.loads(record.value())["title"] for record in shop.read("items") if record.value() != b"{"]
    assert titles == ["repaired", "newer"]


def test_repairs_of_nothing_are_refused(shop: Shop) -> None:
    """A source without a letter, a line that is no letter: exit code 2 and what is wrong, nothing sent."""
    for given, says in (
        ('{"source": "events-0-7", "value": "{}"}', "no such dead letter"),
        ('{"value": "{}"}', "line 1"),
        ('\n{"source": "a", "value": {"base64": "?"}}', "line 2"),
    ):
        done = shop.alluvium("dead-letters", "replay", "--from-file", "-", given=given)
        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr


def test_replays_at_the_same_moment_send_each_letter_once(shop: Shop) -> None:
    """More letters of one user than a user's state remembers ids of, so that nothing but the replays could tell; some
    replays are refused, one is killed, and one more sends what is left.
    """
    events = 3_000
    for number in range(events):
        headers = [("alluvium-error", b"unknown_event_type"), ("alluvium-detail", b"as a worker writes it")]
        source = ("alluvium-source", f"{shop.topic('events')}-0-{number}".encode())
        click = {"user_id": "ann", "item_id": f"i{number}", "event_type": "click"}
        shop.send("dead-letters", "ann", click, partition=0, headers=[*headers, source])
    shop.flush()
    command = [sys.executable, "-m", "stream.cli", "dead-letters", "replay", "--json"]
    running = [
        subprocess.Popen(command, env=shop.environment, cwd=shop.directory, stdout=PIPE, stderr=PIPE, text=True)
        for _ in range(4)
    ]
    wait_until(lambda: sum(end for _, end in shop.watermarks("events")) > 0, "a replay to send")
    running[0].kill()
    for replay in running[1:]:
        _output, said = replay.communicate(timeout=120)
        assert replay.returncode == 0 or "another replay has begun" in said, said
    running[0].communicate()
    last = replayed(shop)
    assert last["sent_before"] + last["sent"] == events
    marks = [dict(record.headers())["alluvium-replayed"] for record in shop.read("events", "read_uncommitted")]
    assert len(marks) == len(set(marks)) == events
