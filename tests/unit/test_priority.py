"""A process that lets others go first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ASK = """
import os, sys
from pathlib import Path
from stream.priority import AUTOGROUP, lower_priority
lower_priority(int(sys.argv[1]))
group = Path(AUTOGROUP)
print(os.getpriority(os.PRIO_PROCESS, 0), group.read_text().split()[-1] if group.exists() else sys.argv[1])
"""


def lowered(niceness: int, *, leader: bool = True) -> tuple[int, int]:
    """The niceness of a process, and of its session, after it has lowered itself."""
    said = subprocess.run(
        [sys.executable, "-c", ASK, str(niceness)], capture_output=True, text=True, check=True, start_new_session=leader
    ).stdout.split()
    return int(said[0]), int(said[1])


def test_a_process_of_its_own_session_lowers_both() -> None:
    """Where Linux shares processor time among sessions, a process's own niceness would count for nothing."""
    assert lowered(12) == (12, 12)


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this system does not group by sessions")
def test_a_session_that_it_shares_is_left_alone() -> None:
    """Started by a terminal, say, whose other processes would be slower with it."""
    ours = int(Path("/proc/self/autogroup").read_text().split()[-1])
    assert lowered(12, leader=False) == (12, ours)
