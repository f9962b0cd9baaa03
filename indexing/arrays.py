"""Arrays of one kind for the compiled loops, wherever they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def filled(shape: tuple[int, ...], value: int, dtype: npt.DTypeLike) -> np.ndarray:
    """An array that holds the same everywhere: `np.full`, at a third of what that costs for a small one."""
    result = np.empty(shape, dtype)
    result.fill(value)
    return result


def empty_lists(count: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """So many lists of k places in which nothing stands: rows -1, int32, and scores 0, float32."""
    return filled((count, k), -1, np.int32), np.zeros((count, k), np.float32)


def joined(texts: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Texts one behind the other, uint8, and where each begins and the last one ends, int64."""
    return np.frombuffer(b"".join(texts), np.uint8), np.cumsum([0, *map(len, texts)], dtype=np.int64)


def taken(arrays: Mapping[str, np.ndarray], dtypes: Mapping[str, npt.DTypeLike]) -> dict[str, np.ndarray]:
    """The named one-dimensional arrays. Raises ValueError where one is missing or of another kind."""
    for name, dtype in dtypes.items():
        array = arrays.get(name)
        if array is None:
            raise ValueError(f"{name} is missing")
        if array.dtype != dtype:
            raise ValueError(f"{name} holds {array.dtype}, not {np.dtype(dtype)}")
        if array.ndim != 1:
            raise ValueError(f"{name} has shape {array.shape}, not one dimension")
    return {name: arrays[name] for name in dtypes}


def check_lists(name: str, starts: np.ndarray, count: int, entries: int) -> None:
    """Raises ValueError unless `starts` cuts so many entries into `count` lists."""
    whole = len(starts) == count + 1 and starts[0] == 0 and starts[-1] == entries
    if not whole or (np.diff(starts) < 0).any():
        raise ValueError(f"the lists of {name} do not lie inside their array")


def check_rows(name: str, numbers: np.ndarray, below: int) -> None:
    """Raises ValueError unless all numbers are 0..below - 1."""
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= below):
        raise ValueError(f"{name} points outside of 0..{below - 1}")
