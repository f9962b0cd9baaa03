"""Quix Streams as in its manual: a StreamingDataFrame with state (RocksDB and a changelog) that writes to topics."""

from __future__ import annotations

from typing import Any

from quixstreams import Application, State, message_context
from quixstreams.models import Topic

from stream.bench.contenders.job import BadEventError, Job, Task, calm_collector, read_task

USER = "user"  # the state's name of the row; a key has a state of its own


def main() -> None:
    """Runs a Quix application until SIGTERM."""
    task = read_task()
    app = Application(
        broker_address=task.servers,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        commit_interval=task.commit_seconds,
        state_dir=f"{task.directory}/state",
        auto_create_topics=True,  # of the changelog
        loglevel="WARNING",
    )
    build(app, task, Job(task))
    calm_collector()
    app.run()


def build(app: Application, task: Task, job: Job) -> None:
    """The dataflow: decode, state, list; what is bad goes to dead letters. No branch: that would copy every message."""
    raw: dict[str, Any] = {"key_serializer": "bytes", "value_serializer": "bytes"}
    events = app.topic(task.events, key_deserializer="bytes", value_deserializer="bytes")
    recommendations, dead_letters = app.topic(task.recommendations, **raw), app.topic(task.dead_letters, **raw)

    def answer(value: bytes, _key: bytes, timestamp: int, _headers: object, stored: State) -> bytes:
        context = message_context()
        try:
            event = job.event(value, timestamp)
        except BadEventError as problem:
            letter = Letter(value)
            letter.headers = job.letter_headers(problem, context.partition, context.offset)
            return letter
        state = job.unpack(stored.get_bytes(USER))
        job.advance(state, event, context.offset, timestamp)
        stored.set_bytes(USER, job.pack(state))
        return job.message(state, event, context.partition)

    def headers(made: bytes, _key: bytes, _timestamp: int, given: object) -> object:
        return made.headers if isinstance(made, Letter) else given

    def topic(made: bytes, _key: bytes, _timestamp: int, _headers: object) -> Topic:
        return dead_letters if isinstance(made, Letter) else recommendations

    answered = app.dataframe(events).apply(answer, stateful=True, metadata=True)
    answered.set_headers(headers).to_topic(topic)


class Letter(bytes):
    """A bad record on its way."""

    headers: list[tuple[str, bytes]]


if __name__ == "__main__":
    main()
