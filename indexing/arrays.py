"""Arrays of one kind for the compiled loops, wherever they come from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def frozen(array: npt.ArrayLike, dtype: npt.DTypeLike) -> np.ndarray:
    """The array as contiguous, aligned and read-only, copied only where it must be.

    Numba compiles a loop anew for an array that is writable or unaligned where the one before was not: arrays just
    built and arrays mapped from a file must look the same to it.
    """
    if isinstance(array, np.ndarray) and array.dtype == dtype:
        flags = array.flags
        if flags.c_contiguous and flags.aligned and not flags.writeable:
            return array
    result = np.require(np.asarray(array, dtype), requirements=["C", "A"]).view()
    result.flags.writeable = False
    return result
