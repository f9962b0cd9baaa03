"""`alluvium` under a wall clock that jumps: off by as many seconds as stand in the file that CLOCK_SHIFT names.

Run as a program in place of `python -m stream.cli`. The monotonic clock goes on as it is, as it does on a real machine.
aiokafka stamps records by the machine's own clock, below Python: here they are handed their stamps.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from aiokafka.producer.message_accumulator import BatchBuilder

VARIABLE = "CLOCK_SHIFT"
PROGRAM = (sys.executable, "-P", __file__)


def main() -> None:
    file = Path(os.environ[VARIABLE])
    real, real_ns = time.time, time.time_ns

    def shift() -> int:
        return int(file.read_text("ascii") or 0)

    time.time = lambda: real() + shift()
    time.time_ns = lambda: real_ns() + shift() * 1_000_000_000
    append = BatchBuilder.append

    def stamped(self: BatchBuilder, *, timestamp: int | None, **record: Any) -> Any:  # noqa: ANN401
        return append(self, timestamp=int(1_000 * time.time()) if timestamp is None else timestamp, **record)

    BatchBuilder.append = stamped
    from stream.cli import main as alluvium

    alluvium()


if __name__ == "__main__":
    main()
