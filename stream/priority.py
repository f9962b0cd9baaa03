"""A process that lets others go first."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

AUTOGROUP = "/proc/self/autogroup"


def lower_priority(niceness: int) -> None:
    """Gives this process a niceness (0 to 19), unless it has a higher one.

    Linux may share processor time among sessions first (`sched_autogroup`), where niceness counts within a session
    alone: the leader of a session, which services and children are, lowers the session too. One that a terminal
    started does not: the terminal's other processes would be slower with it.
    """
    here = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(here, niceness))
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            Path(AUTOGROUP).write_text(str(max(here, niceness)), "ascii")
