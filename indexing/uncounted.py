"""How loops that only read and fill arrays are compiled (numba)."""

from __future__ import annotations

from numba import njit

# Numba counts the references to each array, with atomic instructions, at every view and at every call of a helper: in
# loops that call one for each entry that was more than half of the time. Compiled like this a function counts nothing,
# and numba refuses to compile what would allocate in it: its caller brings whatever room it needs.
uncounted = njit(cache=True, nogil=True, _nrt=False)
