"""What `kafka.compression` costs and saves: processor time to build a producer batch of lists, and its bytes.

    python -m tests.bench.compression

200 lists of 20 items for each batch, made up: ids of a catalogue of 26,000, scores and sources as lists have them.
"""

from __future__ import annotations

import random
import sys
import time

from stream.state.user_state import UserState
from stream.wire.gathered import GatheredBatch
from stream.wire.messages import EventPosition
from stream.wire.record_batches import CODECS
from stream.worker.answers import Answers, Version
from tests.made_lists import made_list

LISTS, ITEMS, ROUNDS = 200, 26_000, 30
SOURCES = [("ann",), ("sessions", "covisitation"), ("ann", "sessions"), ("recent", "ann", "sessions", "covisitation")]


def lists(rng: random.Random) -> list[bytes]:
    """Messages as a worker writes them."""
    answers = Answers(Version("20261123T121000Z-687e", None, ((0, ITEMS),), "sha256:" + 64 * "0", 7), "2026-11-28")
    made = []
    for number in range(LISTS):
        ids = [str(214_800_000 + row) for row in rng.sample(range(ITEMS), 20)]
        scores = sorted((rng.random() for _ in ids), reverse=True)
        ranked = made_list(ids, scores, [rng.choice(SOURCES) for _ in ids])
        seen = EventPosition("alluvium.events", number % 8, number)
        made.append(answers.for_user(f"user{number:06}", UserState(offset=number), seen, ranked).value)
    return made


def batch(messages: list[bytes], codec: str) -> bytes:
    """One batch as the worker makes it."""
    gathered = GatheredBatch(1 << 24, 0, codec)
    for number, value in enumerate(messages):
        gathered.add(b"user%06d" % number, value)
    return gathered._build()


def main() -> None:
    """A line for each codec: the fastest of the rounds, which take turns."""
    messages = lists(random.Random(7))
    best = dict.fromkeys(CODECS, float("inf"))
    for _ in range(ROUNDS):
        for codec in CODECS:
            begun = time.thread_time()
            batch(messages, codec)
            best[codec] = min(best[codec], time.thread_time() - begun)
    for codec in CODECS:
        size = len(batch(messages, codec)) / LISTS
        sys.stdout.write(f"{codec:7} {best[codec] / LISTS * 1e6:6.2f} µs a list, {size:6.0f} bytes\n")


if __name__ == "__main__":
    main()
