"""Adam for tables of which a step touches few rows: its cost depends on the rows touched, never on the catalogue."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class RowAdam:
    """Lazy row-wise Adam over one (N, D) table.

    One second moment a row (as in row-wise Adagrad of large embedding tables, Mudigere et al., ISCA 2022) and one first
    moment a value; a row's moments move, and are corrected for their zero start, only when the row is touched.
    """

    def __init__(self, table: np.ndarray, decay: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8) -> None:
        self.table = torch.from_numpy(np.array(table, np.float32))
        # np.zeros: pages that no row touches are never taken from the machine
        self._first = torch.from_numpy(np.zeros(table.shape, np.float32))
        self._second = torch.from_numpy(np.zeros(len(table), np.float32))
        self._touched = torch.from_numpy(np.zeros(len(table), np.float32))
        self._decay = decay
        self._epsilon = epsilon

    def leaf(self, rows: Tensor) -> Tensor:
        """The given rows (U, D) as a tensor that gathers a gradient."""
        return self.table[rows].requires_grad_()

    def step(self, rows: Tensor, leaf: Tensor, rate: float) -> None:
        """Moves the given rows, each named once, against the gradient that their leaf has gathered."""
        if leaf.grad is None or len(rows) == 0:
            return
        gradient, (slow, slower) = leaf.grad, self._decay
        touched = self._touched[rows] + 1
        first = self._first[rows] * slow + gradient * (1 - slow)
        second = self._second[rows] * slower + gradient.square().mean(1) * (1 - slower)
        self._touched[rows], self._first[rows], self._second[rows] = touched, first, second
        deviation = (second / (1 - slower**touched)).sqrt() + self._epsilon
        size = rate / (deviation * (1 - slow**touched))
        self.table[rows] = leaf.detach() - size[:, None] * first
