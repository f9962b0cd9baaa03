"""Faust as in its manual: an agent over a topic, `table[key] = value`, `await topic.send(...)`."""

from __future__ import annotations

import sys
from typing import Any

import faust

from stream.bench.contenders.job import BadEventError, Job, calm_collector, read_task

TABLE = "state"  # the changelog's name is made of the app's id and this


def main() -> None:
    """Runs a Faust worker until SIGTERM."""
    task = read_task()
    job = Job(task)
    app = faust.App(
        task.group,
        broker=f"kafka://{task.servers}",
        datadir=task.directory,
        key_serializer="raw",
        value_serializer="raw",
        store="memory://",
        topic_partitions=task.partitions,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=0,
        broker_commit_interval=task.commit_seconds,
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
    )
    raw: dict[str, Any] = {"key_type": bytes, "value_type": bytes}
    events = app.topic(task.events, **raw)
    recommendations = app.topic(task.recommendations, **raw)
    dead_letters = app.topic(task.dead_letters, **raw)
    users = app.Table(TABLE, partitions=task.partitions, **raw)

    @app.agent(events)  # type: ignore[untyped-decorator]  # Faust is untyped to us
    async def answer(stream: Any) -> None:  # noqa: ANN401
        async for received in stream.events():
            message = received.message
            try:
                event = job.event(received.value, int(message.timestamp * 1000))
            except BadEventError as problem:
                headers = job.letter_headers(problem, message.partition, message.offset)
                await dead_letters.send(key=received.key, value=received.value, headers=headers)
                continue
            state = job.unpack(users.get(received.key))
            job.advance(state, event, message.offset, int(message.timestamp * 1000))
            users[received.key] = job.pack(state)
            answered = job.message(state, event, message.partition)
            await recommendations.send(key=received.key, value=answered)

    calm_collector()
    sys.argv = [sys.argv[0], "worker", "--loglevel", "warn"]
    app.main()


if __name__ == "__main__":
    main()
