"""The embedded broker: a real Apache Kafka that starts, stops, comes back and says what is wrong."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream.shop.broker import HOST, Broker, PortTakenError, answers, free_port
from stream.shop.kafka_jars import BrokerError

pytestmark = pytest.mark.kafka
TOPIC = "kept"


async def write(broker: Broker, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all") as producer:
        for value in values:
            await producer.send_and_wait(TOPIC, value, partition=0)


async def read_all(broker: Broker) -> list[bytes]:
    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest") as consumer:
        partition = TopicPartition(TOPIC, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        values: list[bytes] = []
        while len(values) < end:
            values.append((await consumer.getone()).value)
        return values


async def create_topic(broker: Broker) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, 1, 1)])
    finally:
        await admin.close()


async def test_records_outlive_stop_and_kill_but_not_fresh(tmp_path: Path) -> None:
    """Acknowledged records are there after an orderly stop and after SIGKILL; `fresh` begins with nothing."""
    broker = Broker(tmp_path)
    try:
        broker.start()
        address = broker.bootstrap_servers
        await create_topic(broker)
        await write(broker, b"one", b"two")
        broker.kill()
        assert not broker.running
        broker.start()
        assert broker.bootstrap_servers == address
        assert await read_all(broker) == [b"one", b"two"]
        await write(broker, b"three")
        broker.stop()
        assert not answers(HOST, int(address.rpartition(":")[2]))
        broker.start()
        assert await read_all(broker) == [b"one", b"two", b"three"]
    finally:
        broker.stop()

    with Broker(tmp_path, fresh=True) as fresh:
        async with AIOKafkaConsumer(bootstrap_servers=fresh.bootstrap_servers) as consumer:
            assert await consumer.topics() == set()


def test_paused_broker_answers_again_when_resumed(kafka_broker: Broker) -> None:
    """`pause` leaves a live process that answers nobody; `resume` brings it back."""
    port = int(kafka_broker.bootstrap_servers.rpartition(":")[2])
    kafka_broker.pause()
    try:
        assert kafka_broker.running
        assert not answers(HOST, port, patience_seconds=0.3)
    finally:
        kafka_broker.resume()
    assert answers(HOST, port, patience_seconds=10)


def test_taken_port_is_named(tmp_path: Path) -> None:
    """A port that somebody listens on is refused by number, before anything is started."""
    port = free_port()
    with socket.socket() as other:
        other.bind((HOST, port))
        other.listen()
        with pytest.raises(PortTakenError, match=str(port)):
            Broker(tmp_path, port=port).start()
    assert not (tmp_path / "broker.log").exists()


def test_two_brokers_cannot_share_a_data_directory(kafka_broker: Broker) -> None:
    """The second broker on one directory is refused by name of the directory, and the first goes on."""
    with pytest.raises(BrokerError, match=f"another broker uses {kafka_broker.data_dir}"):
        Broker(kafka_broker.data_dir).start()
    assert kafka_broker.running


def _hear_ctrl_c() -> None:
    """A shell starts what runs in its background deaf to Ctrl-C, and all that follows inherits it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_command_prints_the_address_and_stops_at_ctrl_c(tmp_path: Path) -> None:
    """`alluvium broker` says where Kafka is on standard output, and Ctrl-C ends both it and Kafka with exit code 0."""
    command = [sys.executable, "-m", "stream.cli", "broker", "--port", "0", "--data-dir", str(tmp_path)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,  # noqa: PLW1509  # no other thread is at work here
    )
    try:
        assert process.stdout is not None
        host, _, port = process.stdout.readline().strip().rpartition(":")
        assert answers(host, int(port))
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert not answers(host, int(port))
    finally:
        process.kill()
        process.communicate()
