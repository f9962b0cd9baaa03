"""What is freed goes back to the system, though small pieces that stay lie between."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

ROUNDS = """
import os, sys
from pathlib import Path
import numpy as np
from stream.allocator import give_back_large, give_back_unused

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20

def last_of(count, megabytes):  # of so many arrays, with small pieces that stay between; the others are freed
    arrays = []
    for _ in range(count):
        arrays.append(np.ones(megabytes << 20, np.uint8))
        staying.append(np.ones(4 << 10, np.uint8))
    return arrays[-1]

if sys.argv[1] == "told":
    give_back_large()
first = np.ones(30 << 20, np.uint8)
del first  # as much as glibc takes for its new limit
before, staying = resident(), []
staying.append(last_of(20, megabytes=6))
print(resident() - before)
staying.append(last_of(100, megabytes=1))
if sys.argv[1] == "told":
    give_back_unused()
print(resident() - before)
"""


def left_over(told: str) -> list[int]:
    """MiB that a process still holds once all but one of 20 arrays of 6 MiB are freed, then of 100 of 1 MiB, too."""
    done = subprocess.run([sys.executable, "-c", ROUNDS, told], capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library's allocator is left as it is")
def test_arrays_between_small_pieces_are_given_back() -> None:
    """All but those that stay, where glibc alone keeps most of them."""
    assert max(left_over("told")) < 12
    assert min(left_over("left alone")) > 60
