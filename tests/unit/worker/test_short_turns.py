"""Threads take shorter turns for a while, and as before afterwards."""

from __future__ import annotations

import sys

import pytest

from stream.worker.short_turns import TURN_SECONDS, short_turns


def test_turns_are_as_before_even_after_an_error() -> None:
    """Shorter within, and what they were behind it, also where what ran within failed."""
    usual = sys.getswitchinterval()
    with pytest.raises(OSError, match="away"), short_turns():
        assert sys.getswitchinterval() == pytest.approx(TURN_SECONDS)
        assert usual > TURN_SECONDS
        raise OSError("away")
    assert sys.getswitchinterval() == usual
