"""How much memory this process may use before somebody ends it."""

from __future__ import annotations

import os
import resource
from pathlib import Path

CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))  # of a container


def memory_limit() -> int:
    """The least of the machine's memory, the container's limit and the process's own (`ulimit -d`), in bytes."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in CGROUPS:
        try:
            said = file.read_text("ascii").strip()
        except OSError:
            continue
        limits += [int(said)] if said.isdigit() else []  # `max`: no limit
    own, _hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits += [] if own == resource.RLIM_INFINITY else [own]
    return min(limits)
