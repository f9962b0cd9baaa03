"""How many threads learning may use."""

from __future__ import annotations

import torch

from indexing import vectors


def use_threads(count: int) -> None:
    """Limits PyTorch and FAISS in this process."""
    torch.set_num_threads(count)
    vectors.use_threads(count)
