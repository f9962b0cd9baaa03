"""Two parts of a refresh at the same time: what they return and raise."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from stream.knowledge.threads import together, use_threads


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    use_threads(request.param)
    yield request.param
    use_threads(before)


def refuse() -> None:
    raise ValueError("no")


def test_both_results_come_back(threads: int) -> None:
    """With two threads each part has one for itself, and afterwards both are there again."""
    found = together(lambda: ("a", torch.get_num_threads()), lambda: ("b", torch.get_num_threads()))
    assert found == (("a", 1), ("b", 1))
    assert torch.get_num_threads() == threads


def test_they_run_at_the_same_time() -> None:
    """With two threads: each waits for the other, which one after the other would wait for ever."""
    before, meeting = torch.get_num_threads(), threading.Barrier(2, timeout=60)
    use_threads(2)
    try:
        assert sorted(together(meeting.wait, meeting.wait)) == [0, 1]
    finally:
        use_threads(before)


def test_an_error_of_either_is_raised(threads: int) -> None:
    """And the number of threads is what it was."""
    for parts in ((refuse, lambda: None), (lambda: None, refuse)):
        with pytest.raises(ValueError, match="no"):
            together(*parts)
    assert torch.get_num_threads() == threads
