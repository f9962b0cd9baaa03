"""Child processes that never outlive us: own process groups, ended in order, and by the kernel when we die."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def spawn(
    command: Sequence[str],
    output: Path,
    *,
    environment: Mapping[str, str] | None = None,
    orphan_signal: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Starts a command in a process group of its own, its standard output and error appended to `output`.

    On Linux the child gets `orphan_signal` when the thread that started it ends: start children from one that lives on.
    """
    with output.open("ab") as log:
        return subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            start_new_session=True,
            preexec_fn=_prepared(orphan_signal),  # noqa: PLW1509 - it calls nothing that takes a lock
        )


def end(process: subprocess.Popen[bytes], patience_seconds: float = 15.0) -> int:
    """SIGTERM, wait, SIGKILL to the child's group when it does not listen. Returns the exit status."""
    if process.poll() is None:
        signal_group(process, signal.SIGTERM)
        signal_group(process, signal.SIGCONT)  # a paused child cannot hear SIGTERM
        try:
            return process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            signal_group(process, signal.SIGKILL)
    return process.wait()


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Sends a signal to the child's process group; one that is already gone is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def last_lines(file: Path, count: int = 15) -> str:
    """The end of a log, for error messages."""
    if not file.exists():
        return ""
    return "\n".join(file.read_text("utf-8", "replace").splitlines()[-count:])


def _prepared(orphan_signal: signal.Signals) -> Callable[[], None]:
    # Looked up before the fork: the child must not take locks.
    prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None
    parent = os.getpid()

    def prepare() -> None:
        if prctl is None:
            return
        prctl(PR_SET_PDEATHSIG, orphan_signal)
        if os.getppid() != parent:  # the parent died between fork and prctl
            os.kill(os.getpid(), orphan_signal)

    return prepare
