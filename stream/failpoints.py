"""Places where a process can be told to break, for tests of what others see then and what is left behind.

Nothing breaks unless `BREAK_ALLUVIUM_AT` is set when a command starts: places and how to break there, for example
`publish.rename=kill` or `refresh.fit=error@2,write.index.faiss=disk-full`. With `@N` only the Nth time counts. A name
that is none is an error, each process that is told to break says so in its log, and `alluvium doctor` warns.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

VARIABLE = "BREAK_ALLUVIUM_AT"
WRITES = (
    "write.encoder.safetensors",
    "write.ranker.safetensors",
    "write.memory.safetensors",
    "write.items.parquet",
    "write.index.faiss",
    "write.features.json",
    "write.README.md",
    "write.manifest.json",
)
REFRESH = (  # in the order in which a refresh comes to them
    "read.window",
    "refresh.fit",
    "refresh.rank",
    "refresh.judge",
    "refresh.build",
    "refresh.gate",
    "refresh.publish",
    *WRITES,
    "publish.sync",
    "publish.rename",
    "publish.renamed",
    "publish.upload",  # of each file, to a remote store
    "refresh.verify",
    "refresh.announce",
    "announce.commit",
    "refresh.announced",
    "collect.delete",
)
SWAP = ("load.hashed", "load.read", "swap.prepared", "swap.assigned")  # of a worker, in its order
LETTERS = ("letters.commit",)  # of worker and trainer: letters are written, their transaction is open
NAMES = (*REFRESH, *SWAP, *LETTERS)


@dataclass
class _Break:
    action: str
    only: int  # 0: every time
    reached: int = 0


_plan: dict[str, _Break] = {}


def failpoint(name: str) -> None:
    """Nothing, unless this process was told to break here."""
    if _plan and (told := _plan.get(name)) is not None:
        told.reached += 1
        if told.only in (0, told.reached):
            ACTIONS[told.action](name)


def arm(text: str) -> None:
    """Takes in what the variable says, in place of what was said before. Raises ValueError for a name that is none."""
    plan = {}
    for part in filter(None, text.split(",")):
        name, _, action = part.strip().partition("=")
        action, _, only = action.partition("@")
        if name not in NAMES or action not in ACTIONS or not (only or "1").isdecimal():
            raise ValueError(
                f"{VARIABLE}: {part!r} is not PLACE=ACTION or PLACE=ACTION@N; places: {', '.join(NAMES)}; "
                f"actions: {', '.join(ACTIONS)}"
            )
        plan[name] = _Break(action, int(only or 0))
    _plan.clear()
    _plan.update(plan)


def _kill(_name: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _freeze(_name: str) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _fail(name: str) -> None:
    raise RuntimeError(f"told to fail at {name}")


def _fill_disk(name: str) -> None:
    raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} (told so at {name})")


ACTIONS: dict[str, Callable[[str], None]] = {
    "kill": _kill,
    "freeze": _freeze,
    "error": _fail,
    "disk-full": _fill_disk,
}
