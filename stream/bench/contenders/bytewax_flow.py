"""Bytewax: a dataflow with keyed state that it recovers from SQLite; there is no changelog to write."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import cluster_main

from stream.bench.contenders.job import BadEventError, Event, Job, State, Task, calm_collector, read_task

PARTITIONER = {"partitioner": "murmur2_random"}  # librdkafka's own default is not the Java client's

Received: TypeAlias = Any  # KafkaSourceMessage[bytes, bytes]
Made: TypeAlias = Any  # KafkaSinkMessage[bytes, bytes]


def main() -> None:
    """Runs the dataflow until SIGTERM, with a snapshot as often as others commit."""
    task = read_task()
    recovery = Path(task.directory) / "recovery"
    recovery.mkdir()
    init_db_dir(recovery, 1)
    flow = build(task, Job(task))
    calm_collector()
    interval = timedelta(seconds=task.commit_seconds)
    cluster_main(flow, [], 0, epoch_interval=interval, recovery_config=RecoveryConfig(recovery))


def build(task: Task, job: Job) -> Dataflow:
    """Decode, key by user, fold and list; one sink writes lists and dead letters to their topics."""

    def decode(received: Received) -> tuple[str, tuple[Received, Event | BadEventError]]:
        key = received.key.decode()
        try:
            return key, (received, job.event(received.value, received.timestamp[1]))
        except BadEventError as problem:
            return key, (received, problem)

    def answer(state: State | None, found: tuple[Received, Event | BadEventError]) -> tuple[State | None, Made]:
        received, event = found
        partition, offset = received.partition, received.offset
        if isinstance(event, BadEventError):
            headers = job.letter_headers(event, partition, offset)
            return state, KafkaSinkMessage(received.key, received.value, task.dead_letters, headers)
        state = State() if state is None else state
        job.advance(state, event, offset, received.timestamp[1])
        return state, KafkaSinkMessage(received.key, job.message(state, event, partition), task.recommendations)

    flow = Dataflow("bench")
    events = op.input("events", flow, KafkaSource([task.servers], [task.events]))
    answered = op.stateful_map("answer", op.map("decode", events, decode), answer)
    op.output("write", op.map("unkey", answered, _message), KafkaSink([task.servers], None, PARTITIONER))
    return flow


def _message(keyed: tuple[str, Made]) -> Made:
    return keyed[1]


if __name__ == "__main__":
    main()
