"""Lists as text (numba, nogil): most bytes are the same from list to list and are copied, numbers are written digit by
digit.

The JSON of a place is that of the messages' RecommendedItem without a reason; ids alone are written as msgpack.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

SCORE_DECIMALS, CHANCE_DECIMALS = 6, 9
SCORE_SCALE, CHANCE_SCALE = 10**SCORE_DECIMALS, 10**CHANCE_DECIMALS
LARGEST, SMALLEST = 1e9, 1e-5  # numbers not between these have too many digits, or are written with an exponent
LEAST_CHANCE = 1.0 / CHANCE_SCALE  # of what stands somewhere at all

NO_REASON = b',"reason":null},'
BETWEEN = np.frombuffer(NO_REASON + b'{"item_id":"', np.uint8)
SCORE = np.frombuffer(b'","score":', np.uint8)
SOURCE = np.frombuffer(b',"source":[', np.uint8)
CHANCE = np.frombuffer(b'],"propensity":', np.uint8)
CERTAIN = np.frombuffer(b'],"propensity":1.0', np.uint8)
PLACE = sum(map(len, (BETWEEN, SCORE, SOURCE, CHANCE))) + 40  # bytes of a place without id and sources, at most
OPEN, CLOSE, COMMA, POINT, MINUS, ZERO = b"[],.-0"
FEW, MANY, SHORT, LONG, LONGER, LONGEST = 0x90, 0xDC, 0xA0, 0xD9, 0xDA, 0xDB  # msgpack's arrays and strings


@njit(cache=True, nogil=True)
def place(positions: Any, found: tuple[Any, Any, Any], chances: Any, users: Any, lists: Any) -> None:
    """Puts ranked candidates into lists as columns.

    `positions` (B, K) in the candidates `found` (rows, scores and sources, (M,)), best first, -1 behind the last, with
    their `chances` (B, K); `users` (B,): where in `lists` (rows, scores, sources, chances, (L, K), and sizes (L,)) each
    goes. Numbers are rounded to as many decimals as messages have.
    """
    rows, scores, sources = found
    out_rows, out_scores, out_sources, out_chances, sizes = lists
    for user in range(users.size):
        to = users[user]
        size = 0
        for at in range(positions.shape[1]):
            position = positions[user, at]
            if position < 0:
                break
            out_rows[to, at], out_sources[to, at] = rows[position], sources[position]
            out_scores[to, at], out_chances[to, at] = scores[position], chances[user, at]
            size += 1
        round_off(out_scores[to], out_chances[to], size)
        sizes[to] = size


@njit(cache=True, nogil=True)
def round_off(scores: Any, chances: Any, size: int) -> None:
    """Leaves the first so many of a list's numbers as many decimals as messages have."""
    for at in range(size):
        if abs(scores[at]) < LARGEST:
            scores[at] = np.rint(scores[at] * SCORE_SCALE) / SCORE_SCALE + 0.0  # no zero below zero
        chances[at] = max(np.rint(chances[at] * CHANCE_SCALE) / CHANCE_SCALE, LEAST_CHANCE)


@njit(cache=True, nogil=True)
def write(lists: tuple[Any, Any, Any, Any, Any], ids: tuple[Any, Any], plain: Any, names: tuple[Any, Any]) -> Any:
    """The JSON and the msgpack of each list: (bytes, ends (L,), bytes, ends (L,)), in the JSON no bytes for a list that
    must be written otherwise: one of its ids needs escapes, or one of its numbers is too large or too small.

    `lists` as in `place`; `ids` all items' texts in UTF-8 one behind the other, and where each begins (N + 1,); `plain`
    (N,) whether JSON has them as they are; `names` the sources' names likewise, in the order of their bits.
    """
    rows, scores, sources, chances, sizes = lists
    texts, starts = ids
    room, packed_room = _room(rows, sizes, starts, names[0].size + names[1].size)
    out, ends = np.empty(room, np.uint8), np.zeros(sizes.size, np.int64)
    packed, packed_ends = np.empty(packed_room, np.uint8), np.zeros(sizes.size, np.int64)
    at, packed_at = 0, 0
    for user in range(sizes.size):
        size, odd = sizes[user], False
        packed_at = _packed_head(packed, packed_at, size)
        for number in range(size):
            row = rows[user, number]
            score, chance = abs(scores[user, number]), chances[user, number]
            easy = score == 0.0 or (score >= SMALLEST and score < LARGEST)
            odd = odd or not (plain[row] and easy and chance >= SMALLEST and chance <= 1.0)
            packed_at = _packed_text(packed, packed_at, texts, starts[row], starts[row + 1])
        packed_ends[user] = packed_at
        if not odd:
            at = _list(out, at, (rows[user], scores[user], sources[user], chances[user], size), texts, starts, names)
        ends[user] = at
    return out, ends, packed, packed_ends


@njit(cache=True, nogil=True)
def _room(rows: Any, sizes: Any, starts: Any, names: int) -> tuple[int, int]:
    """Bytes that the lists take at most, as JSON and as msgpack."""
    room, packed = 0, 0
    for user in range(sizes.size):
        room, packed = room + 2, packed + 5
        for number in range(sizes[user]):
            row = rows[user, number]
            length = starts[row + 1] - starts[row]
            room, packed = room + PLACE + length + names + 1, packed + length + 5
    return room, packed


@njit(cache=True, nogil=True)
def _list(out: Any, at: int, columns: Any, texts: Any, starts: Any, names: Any) -> int:
    """Writes the JSON of one list; returns where it ends, as all that write here."""
    rows, scores, sources, chances, size = columns
    out[at] = OPEN
    at += 1
    for number in range(size):
        row = rows[number]
        at = _copy(out, at, BETWEEN, 0 if number else len(NO_REASON), BETWEEN.size)
        at = _copy(out, at, texts, starts[row], starts[row + 1])
        at = _copy(out, at, SCORE, 0, SCORE.size)
        at = _number(out, at, scores[number], SCORE_SCALE, SCORE_DECIMALS)
        at = _copy(out, at, SOURCE, 0, SOURCE.size)
        at = _sources(out, at, sources[number], names)
        if chances[number] == 1.0:
            at = _copy(out, at, CERTAIN, 0, CERTAIN.size)
        else:
            at = _copy(out, at, CHANCE, 0, CHANCE.size)
            at = _number(out, at, chances[number], CHANCE_SCALE, CHANCE_DECIMALS)
    if size:
        at = _copy(out, at, BETWEEN, 0, len(NO_REASON) - 1)
    out[at] = CLOSE
    return at + 1


@njit(cache=True, nogil=True)
def _sources(out: Any, at: int, bits: Any, names: Any) -> int:
    texts, starts = names
    first = True
    for bit in range(starts.size - 1):
        if (bits >> bit) & 1:
            if not first:
                out[at] = COMMA
                at += 1
            first = False
            at = _copy(out, at, texts, starts[bit], starts[bit + 1])
    return at


@njit(cache=True, nogil=True)
def _number(out: Any, at: int, value: float, scale: int, decimals: int) -> int:
    """Writes a number with so many decimals, without zeros at its end but one; `scale` is ten to their power."""
    units = np.int64(np.rint(value * scale))
    if units < 0:
        out[at] = MINUS
        at, units = at + 1, -units
    whole = np.uint32(np.uint64(units) // np.uint64(scale))
    part = np.uint32(np.uint64(units) - np.uint64(whole) * np.uint64(scale))
    digits, power = 1, np.uint32(10)
    while digits < 10 and whole >= power:
        digits, power = digits + 1, power * np.uint32(10)
    _digits(out, at, whole, digits)
    at += digits
    out[at] = POINT
    at += 1
    _digits(out, at, part, decimals)
    at += decimals
    while out[at - 1] == ZERO and out[at - 2] != POINT:
        at -= 1
    return at


@njit(cache=True, nogil=True)
def _digits(out: Any, at: int, number: Any, count: int) -> None:
    """Writes the last so many digits of a number."""
    for place in range(count - 1, -1, -1):
        left = number // np.uint32(10)
        out[np.uintp(at + place)] = np.uint8(ZERO + number - left * np.uint32(10))
        number = left


@njit(cache=True, nogil=True)
def _packed_head(out: Any, at: int, size: int) -> int:
    """Begins an array of so many (fewer than 65,536)."""
    if size < 16:
        out[at] = FEW | size
        return at + 1
    out[at], out[at + 1], out[at + 2] = MANY, size >> 8, size & 0xFF
    return at + 3


@njit(cache=True, nogil=True)
def _packed_text(out: Any, at: int, texts: Any, start: int, end: int) -> int:
    size = end - start
    if size < 32:
        out[at] = SHORT | size
        at += 1
    elif size < 1 << 8:
        out[at], out[at + 1] = LONG, size
        at += 2
    elif size < 1 << 16:
        out[at], out[at + 1], out[at + 2] = LONGER, size >> 8, size & 0xFF
        at += 3
    else:
        out[at], out[at + 1], out[at + 2] = LONGEST, size >> 24, (size >> 16) & 0xFF
        out[at + 3], out[at + 4] = (size >> 8) & 0xFF, size & 0xFF
        at += 5
    return _copy(out, at, texts, start, end)  # type: ignore[no-any-return]  # compiled


@njit(cache=True, nogil=True)
def _copy(out: Any, at: int, texts: Any, start: int, end: int) -> int:
    to, begin = np.uintp(at), np.uintp(start)
    for byte in range(np.uintp(end - start)):
        out[to + byte] = texts[begin + byte]
    return at + end - start
