"""How the C library's allocator treats large pieces of memory."""

from __future__ import annotations

import ctypes

LARGE = 4 << 20  # bytes: arrays of artifacts, but nothing that a micro-batch asks for again and again
KEPT = 64 << 20  # bytes free at the heap's end that are not given back each time: what glibc itself comes to
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def give_back_large() -> None:
    """From now on a piece of 4 MiB or more goes back to the system as soon as it is freed.

    Left alone, glibc takes the largest such piece freed so far, up to 32 MiB, for the new limit (mallopt(3)), and cuts
    what is smaller out of its heap: there the arrays of each replaced artifact leave a hole that the next one, a little
    larger, does not fit into. Another C library is left as it is.
    """
    _call("mallopt", _MMAP_THRESHOLD, LARGE)
    _call("mallopt", _TRIM_THRESHOLD, KEPT)  # else 128 KiB from now on: the heap's end would come and go all the time


def give_back_unused() -> None:
    """Gives back whole pages that nothing uses, wherever in the heap they lie; some milliseconds, for a thread."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*arguments)
