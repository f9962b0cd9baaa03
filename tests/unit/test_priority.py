"""A process that lets others go first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ENABLED = Path("/proc/sys/kernel/sched_autogroup_enabled")
ASK = """
import os, sys
from pathlib import Path
from stream.priority import AUTOGROUP, lower_priority
lower_priority(int(sys.argv[1]))
group = Path(AUTOGROUP)
said = group.read_text().split() if group.exists() else []  # empty where the session has no group of its own
print(os.getpriority(os.PRIO_PROCESS, 0), said[-1] if said else "none")
"""


def groups_sessions() -> bool:
    """Whether a new session gets its share of processor time as a whole."""
    return ENABLED.exists() and ENABLED.read_text().strip() == "1"


def niceness_of_this_session() -> str:
    group = Path("/proc/self/autogroup")
    said = group.read_text().split() if group.exists() else []
    return said[-1] if said else "none"


def lowered(niceness: int, *, leader: bool) -> list[str]:
    """The niceness of a process, and of its session, after it has lowered itself."""
    command = [sys.executable, "-c", ASK, str(niceness)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, start_new_session=leader)
    return said.stdout.split()


@pytest.mark.skipif(not groups_sessions(), reason="this system does not group by sessions")
def test_a_process_of_its_own_session_lowers_both() -> None:
    """Where Linux shares processor time among sessions, a process's own niceness would count for nothing."""
    assert lowered(12, leader=True) == ["12", "12"]


def test_a_process_lowers_itself_in_a_session_that_it_shares_and_leaves_the_session_alone() -> None:
    """Started by a terminal, say, whose other processes would be slower with it."""
    assert lowered(12, leader=False) == ["12", niceness_of_this_session()]
