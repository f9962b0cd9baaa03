"""The recommender without a stream: how many lists a second one core makes in batches, and what one query costs.

Prints JSON: `batched` and `single`, each lists a second by the clock and by processor time.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from stream.bench.contenders.job import BadEventError, Job, State, read_task
from stream.bench.contenders.lists import Recommender
from stream.knowledge.serving import Query

BATCH = 256
SINGLES = 2_000
SKIPPED = 0.2  # of the log: as the middle of a stream's run


class Speed(msgspec.Struct, frozen=True):
    """Lists a second, by the clock and by the processor time of the thread."""

    per_second: float
    per_cpu_second: float


class Alone(msgspec.Struct, frozen=True):
    """In batches of 256, and one by one."""

    batched: Speed
    single: Speed


def main() -> None:
    """Asks for every event of the log in the second argument, one JSON event a line."""
    job = Job(read_task())
    recommender = Recommender(job.task)
    lines = Path(sys.argv[2]).read_bytes().splitlines()
    queries = list(asked(job, recommender, lines))[int(SKIPPED * len(lines)) :]
    gc.collect()
    gc.freeze()
    batches = [queries[start : start + BATCH] for start in range(0, len(queries) - BATCH + 1, BATCH)]

    def recommend(part: Sequence[Query]) -> list[list[str]]:
        return [ranked.item_ids for ranked in recommender.serving.recommend(part)]

    alone = Alone(speed(recommend, batches), speed(recommend, singles(queries)))
    sys.stdout.write(msgspec.json.encode(alone).decode())


def asked(job: Job, recommender: Recommender, lines: Sequence[bytes]) -> Iterator[Query]:
    """What each event's list is asked with: the states are copied, they go on."""
    states: dict[str, State] = {}
    for offset, line in enumerate(lines):
        try:
            event = job.event(line, time.time_ns() // 1_000_000)
        except BadEventError:
            continue
        state = states.setdefault(event.user_id, State())
        job.advance(state, event, offset, 0)
        copied = State(offset, state.items[:], state.types[:], state.times[:], state.purchased[:])
        yield recommender.query(copied)


def singles(queries: Sequence[Query]) -> list[Sequence[Query]]:
    """Some of the queries, one by one."""
    return [[query] for query in islice(queries, SINGLES)]


def speed(recommend: Callable[[Sequence[Query]], object], batches: Sequence[Sequence[Query]]) -> Speed:
    """All batches in turn, behind one that does not count."""
    recommend(batches[0])
    count = sum(map(len, batches))
    begun, spent = time.perf_counter(), time.thread_time()
    for batch in batches:
        recommend(batch)
    return Speed(count / (time.perf_counter() - begun), count / (time.thread_time() - spent))


if __name__ == "__main__":
    main()
