"""From a history to a user vector: the serving side of the encoder, numpy alone.

One pre-LayerNorm self-attention block in the manner of SASRec (Kang and McAuley, ICDM 2018). With one block only
the last position asks, so the key and the value matrix fold into per-user vectors:

    score_j = (W_q h_last) . (W_k h_j)      = (h_last W_q' W_k) . h_j        one D-vector per user and head
    output  = W_o sum_j a_j (W_v h_j)       = W_o W_v (sum_j a_j h_j)        one D-vector per user and head

and no array of size (events, D) is ever multiplied by a (D, D) matrix. `models.network` holds the same block in torch,
with gradients; a test holds both to the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

GAP_BUCKETS = 24  # powers of two of a second: one second to 97 days
FIRST = GAP_BUCKETS  # the gap bucket of an event that has none before it
EPSILON = 1e-5  # LayerNorm's; the same in torch


def gap_buckets(milliseconds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bucket of a time span: floor(log2(1 + seconds)), 0..GAP_BUCKETS-1; spans below zero count as zero.

    >>> gap_buckets(np.array([-5, 0, 1_000, 60_000, 10**15])).tolist()
    [0, 0, 1, 5, 23]
    """
    seconds = np.maximum(milliseconds, 0) // 1_000
    return np.minimum(np.floor(np.log2(1.0 + seconds)).astype(np.int64), GAP_BUCKETS - 1)


class HistoryEncoder:
    """Encodes histories with one version's parameters and item vectors.

    Parameters by name (H heads, D dimensions, L the longest history, F the feed-forward width), float32:
    `types` (event types, D), `gaps` (GAP_BUCKETS + 1, D), `distances` (H, L), `recency` (H, GAP_BUCKETS),
    `norm1`, `norm2`, `norm3` (2, D): LayerNorm scale and shift, `query`, `key`, `value`, `output` (D, D),
    `inner` (F, D), `inner_bias` (F,), `outer` (D, F), `outer_bias` (D,).
    """

    def __init__(self, parameters: Mapping[str, np.ndarray], item_vectors: np.ndarray) -> None:
        self.parameters = {name: np.ascontiguousarray(array, np.float32) for name, array in parameters.items()}
        self.item_vectors = item_vectors
        self._fold()

    @property
    def length(self) -> int:
        """The most events of a history that are looked at (the newest)."""
        return int(self.parameters["distances"].shape[1])

    @property
    def dimensions(self) -> int:
        """D, the length of a user vector."""
        return int(self.parameters["query"].shape[0])

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters by name, without the item vectors."""
        return dict(self.parameters)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], item_vectors: np.ndarray) -> HistoryEncoder:
        """The encoder that `arrays()` came from, over (N, D) item vectors."""
        return cls(arrays, item_vectors)

    def with_vectors(self, item_vectors: np.ndarray) -> HistoryEncoder:
        """The same encoder over other item vectors, for example with rows of newer items added at the end."""
        return HistoryEncoder(self.parameters, item_vectors)

    def encode(
        self,
        rows: np.ndarray,
        types: np.ndarray,
        times: np.ndarray,
        starts: np.ndarray,
        now: np.ndarray | None = None,  # noqa: ARG002  # the last event's time is the query's: see below
    ) -> Floats:
        """User vectors (B, D), L2-normalised; zero for a history without any known item.

        Flat histories, oldest first: `rows` (T,) with -1 for unknown items (they are passed over), `types` (T,),
        `times` (T,) in milliseconds, `starts` (B + 1,). `now` is accepted for the sake of one call for every source and
        is not used: lists are asked for at the moment of the last event.
        """
        result = np.zeros((len(starts) - 1, self.dimensions), np.float32)
        kept, lengths = newest_known(rows, starts, self.length)
        asked = np.flatnonzero(lengths)
        if len(asked) == 0:
            return result
        result[asked] = self._encode(
            rows[kept].astype(np.int64), types[kept].astype(np.int64), times[kept], lengths[asked]
        )
        return result

    def _encode(self, rows: Ints, types: Ints, times: Ints, lengths: Ints) -> Floats:
        p = self.parameters
        ends = np.cumsum(lengths)
        x = self.item_vectors[rows] + p["types"][types] + p["gaps"][gaps_before(times, ends - lengths)]  # (T, D)
        x = x.astype(np.float64)  # sums differ with the shape of the batch in their last bits, which float32 then drops
        h = _standardise(x)
        last = ends - 1
        width = int(lengths.max())
        back = np.arange(width - 1, -1, -1)  # distance from the last event, oldest first
        inside = back < lengths[:, None]  # (B, width)
        at = np.where(inside, last[:, None] - back, last[:, None])
        keys = h[at]  # (B, width, D)
        asking = (h[last] * p["norm1"][0] + p["norm1"][1]) @ self._ask  # (B, H * D)
        scores = asking.reshape(len(lengths), -1, self.dimensions) @ keys.transpose(0, 2, 1)  # (B, H, width)
        scores += p["distances"][:, back]
        scores += p["recency"][:, gap_buckets(times[last][:, None] - times[at])].transpose(1, 0, 2)
        scores[~np.broadcast_to(inside[:, None, :], scores.shape)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        pooled = (weights @ keys).reshape(len(lengths), -1)  # (B, H * D)
        y = x[last] + pooled @ self._give + self._give_shift
        inner = (_standardise(y) * p["norm2"][0] + p["norm2"][1]) @ p["inner"].T + p["inner_bias"]
        y = y + np.maximum(inner, 0.0) @ p["outer"].T + p["outer_bias"]
        return normalise(_standardise(y) * p["norm3"][0] + p["norm3"][1])

    def _fold(self) -> None:
        """Multiplies out what does not depend on a user.

        The shift of the first LayerNorm adds the same to every score of one query, which softmax does not see; in the
        values it is one constant vector, since the attention weights sum to one.
        """
        p, heads, size = self.parameters, self.parameters["distances"].shape[0], self.dimensions
        width = size // heads
        scale, shift = p["norm1"]
        ask, give, self._give_shift = [], [], np.zeros(size, np.float32)
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            ask.append(p["query"][part].T @ p["key"][part] * scale / np.sqrt(np.float32(width)))  # (D, D)
            through = (p["output"][:, part] @ p["value"][part]).T  # (D, D)
            give.append(scale[:, None] * through)
            self._give_shift = self._give_shift + shift @ through
        self._ask = np.concatenate(ask, axis=1)  # (D, H * D)
        self._give = np.concatenate(give, axis=0)  # (H * D, D)


def newest_known(rows: np.ndarray, starts: np.ndarray, length: int) -> tuple[Ints, Ints]:
    """Positions of each history's newest `length` events with a known item, and how many each history has (B,)."""
    known = np.flatnonzero(rows >= 0)
    bounds = np.searchsorted(known, starts)
    counts = np.diff(bounds)
    lengths = np.minimum(counts, length)
    first_kept = np.repeat(bounds[1:] - lengths, counts)
    known = known[bounds[0] : bounds[-1]]
    kept = known[np.arange(bounds[0], bounds[-1]) >= first_kept]
    return kept.astype(np.int64), lengths.astype(np.int64)


def gaps_before(times: npt.NDArray[np.int64], firsts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Bucket of the time since the event before, in flat histories that begin at `firsts`; FIRST there."""
    buckets = np.empty(len(times), np.int64)
    buckets[1:] = gap_buckets(np.diff(times))
    buckets[firsts] = FIRST
    return buckets


def normalise(vectors: np.ndarray) -> Floats:
    """Rows divided by their L2 norm, float32; a zero row stays zero."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return np.asarray(vectors / np.where(norms > 0, norms, 1.0), np.float32)


def _standardise(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    variance = np.einsum("ij,ij->i", centred, centred)[:, None] / x.shape[1]
    return np.asarray(centred / np.sqrt(variance + EPSILON))
