"""Threads that take turns more often than the interpreter lets them by itself."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

TURN_SECONDS = 0.0005


@contextlib.contextmanager
def short_turns() -> Iterator[None]:
    """While a thread works beside the event loop: the loop waits for the interpreter for half a millisecond, not five.

    It waits anew each time it comes back from the network or from compiled code, some ten times for each micro-batch.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(TURN_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
