"""How much memory is left: who takes more gets killed, and after it every worker that tries the same."""

from __future__ import annotations

from pathlib import Path

MEMINFO, GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")  # on Linux; elsewhere nothing is known


def memory_left(meminfo: Path = MEMINFO, group: Path = GROUP) -> int | None:
    """Bytes that this process may still take, None where nobody says: of the machine, and of its container."""
    left = [amount for amount in (_of_machine(meminfo), _of_group(group)) if amount is not None]
    return min(left, default=None)


def _of_machine(meminfo: Path) -> int | None:
    available = _numbers(meminfo).get("MemAvailable:")
    return None if available is None else 1024 * available


def _of_group(group: Path) -> int | None:
    try:
        most = (group / "memory.max").read_text("ascii").strip()
        used = int((group / "memory.current").read_text("ascii"))
    except OSError:
        return None
    droppable = _numbers(group / "memory.stat").get("inactive_file", 0)
    return int(most) - used + droppable if most.isdecimal() else None


def _numbers(table: Path) -> dict[str, int]:
    """The first number of each line, by its name."""
    try:
        lines = table.read_text("ascii").splitlines()
    except OSError:
        return {}
    return {words[0]: int(words[1]) for line in lines if len(words := line.split()) > 1}
