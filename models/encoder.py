"""From a history to a user vector: the serving side of the encoder, without torch.

One pre-LayerNorm self-attention block in the manner of SASRec (Kang and McAuley, ICDM 2018). With one block only
the last position asks, so the key and the value matrix fold into per-user vectors:

    score_j = (W_q h_last) . (W_k h_j)      = (h_last W_q' W_k) . h_j        one D-vector per user and head
    output  = W_o sum_j a_j (W_v h_j)       = W_o W_v (sum_j a_j h_j)        one D-vector per user and head

and no array of size (events, D) is ever multiplied by a (D, D) matrix. `models.encoding` holds the loop,
`models.network` the same block in torch, with gradients; a test holds both to the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from functools import cached_property

import numpy as np
import numpy.typing as npt

from models.encoding import encode_users

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


class HistoryEncoder:
    """Encodes histories with one version's parameters and item vectors.

    Parameters by name (H heads, D dimensions, L the longest history, F the feed-forward width), float32:
    `types` and `intents` (event types, D), `gaps` (GAP_BUCKETS + 1, D), `distances` (H, L), `recency` (H, GAP_BUCKETS),
    `norm1`, `norm2`, `norm3` (2, D): LayerNorm scale and shift, `query`, `key`, `value`, `output` (D, D),
    `inner` (F, D), `inner_bias` (F,), `outer` (D, F), `outer_bias` (D,).

    A user vector is normalise(normalise(h) + intents[b]): what the history says, turned towards what users click, put
    into the cart or buy next, as event type b asks; one index serves them all. Without `intents` (an older artifact)
    nothing is added.
    """

    def __init__(self, parameters: Mapping[str, np.ndarray], item_vectors: np.ndarray) -> None:
        self.parameters = {name: np.ascontiguousarray(array, np.float32) for name, array in parameters.items()}
        self.parameters.setdefault("intents", np.zeros_like(self.parameters["types"]))
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

    @cached_property
    def asked_for(self) -> npt.NDArray[np.bool_]:
        """Which event types were ever a target of training, (event types,): only their intent has moved from zero."""
        return np.asarray(self.parameters["intents"].any(axis=1))

    def arrays(self) -> dict[str, np.ndarray]:
        """The parameters by name, without the item vectors."""
        return dict(self.parameters)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], item_vectors: np.ndarray) -> HistoryEncoder:
        """The encoder that `arrays()` came from, over (N, D) item vectors."""
        return cls(arrays, item_vectors)

    def with_vectors(self, item_vectors: np.ndarray) -> HistoryEncoder:
        """The same encoder over other item vectors, for example with rows of newer items added at the end."""
        other = copy(self)
        other.item_vectors = item_vectors
        other._tables = _all_frozen(item_vectors, self.parameters["types"], self.parameters["gaps"])
        return other

    def encode(
        self,
        rows: np.ndarray,
        types: np.ndarray,
        times: np.ndarray,
        starts: np.ndarray,
        intents: np.ndarray | None = None,
    ) -> Floats:
        """User vectors (B, D), L2-normalised; zero for a history without any known item.

        Flat histories, oldest first: `rows` (T,) with -1 for unknown items (they are passed over), `types` (T,),
        `times` (T,) in milliseconds, `starts` (B + 1,). Lists are asked for at the moment of the last event. `intents`
        (B,) codes of the event types asked for; 0 for all by default.
        """
        result = np.zeros((len(starts) - 1, self.dimensions), np.float32)
        wanted = np.zeros(len(result), np.int8) if intents is None else intents
        histories = (
            np.asarray(rows, np.int32),
            np.asarray(types, np.int8),
            np.asarray(times, np.int64),
            np.asarray(starts, np.int64),
            np.asarray(wanted, np.int8),
        )
        encode_users(histories, self._tables, self._attention, self._feed_forward, self._norms, result)
        return result

    def _fold(self) -> None:
        """Multiplies out what does not depend on a user.

        The shift of the first LayerNorm adds the same to every score of one query, which softmax does not see; in the
        values it is one constant vector, since the attention weights sum to one.
        """
        p, heads, size = self.parameters, self.parameters["distances"].shape[0], self.dimensions
        width = size // heads
        scale, shift = p["norm1"]
        ask, give, give_shift = [], [], np.zeros(size, np.float32)
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            ask.append(p["query"][part].T @ p["key"][part] * scale / np.sqrt(np.float32(width)))  # (D, D)
            through = (p["output"][:, part] @ p["value"][part]).T  # (D, D)
            give.append(scale[:, None] * through)
            give_shift = give_shift + shift @ through
        self._tables = _all_frozen(self.item_vectors, p["types"], p["gaps"])
        self._attention = _all_frozen(np.concatenate(ask, axis=1), np.concatenate(give), give_shift)
        self._attention += _all_frozen(p["distances"], p["recency"])
        self._feed_forward = _all_frozen(p["inner"].T, p["inner_bias"], p["outer"].T, p["outer_bias"])
        self._norms = _all_frozen(p["norm1"], p["norm2"], p["norm3"], p["intents"])


def normalise(vectors: np.ndarray) -> Floats:
    """Rows divided by their L2 norm, float32; a zero row stays zero."""
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
    return np.asarray(vectors / np.where(norms > 0, norms, 1.0), np.float32)


def _all_frozen(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Contiguous, aligned and read-only: arrays just made and arrays from a file must look the same to numba."""
    views = tuple(np.require(array, np.float32, ["C", "A"]).view() for array in arrays)
    for view in views:
        view.flags.writeable = False
    return views
