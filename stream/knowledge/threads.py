"""How many threads learning may use, and two parts of it at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import torch

from indexing import vectors

First = TypeVar("First")
Second = TypeVar("Second")


def use_threads(count: int) -> None:
    """Limits PyTorch and FAISS in what the calling thread asks of them."""
    torch.set_num_threads(count)
    vectors.use_threads(count)


def together(first: Callable[[], First], second: Callable[[], Second]) -> tuple[First, Second]:
    """What both calls return, made at the same time where this process may use two threads, else one after the other.

    The threads are shared out: two parts that each use one core finish sooner than one after the other on both. Neither
    may change what the other reads. Raises what either raises, the first one's error before the second one's.
    """
    count = torch.get_num_threads()
    if count < 2:
        return first(), second()
    share, made, errors = count // 2, [], []

    def run() -> None:
        use_threads(share)
        try:
            made.append(second())
        except BaseException as error:  # handed to the thread that waits
            errors.append(error)

    other = threading.Thread(target=run, name="refresh", daemon=True)  # keeps no stopping process alive
    use_threads(share)
    try:
        other.start()
        result = first()
    finally:
        other.join()
        use_threads(count)
    if errors:
        raise errors[0]
    return result, made[0]
