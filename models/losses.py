"""Losses, as pure functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction, FunctionCtx


def sampled_softmax(
    users: Tensor, positives: Tensor, negatives: Tensor, *, log_expected: Tensor, hits: Tensor, temperature: float
) -> Tensor:
    """Cross-entropy of each positive against shared sampled negatives, (Q,).

    `users` (Q, D), `positives` (Q, D) and `negatives` (K, D) are normalised, so a logit is cosine / `temperature`.
    `log_expected` (K,) is the log of how many times a negative is expected in the sample: subtracting it makes the sum
    over the sample an estimate of the sum over the catalogue (logQ correction, Yi et al., RecSys 2019). The positive is
    in every sample for certain, so nothing is subtracted from it. `hits` (Q, K) marks negatives that are the query's
    own positive: they are left out.
    """
    loss: Tensor = _SampledSoftmax.apply(users / temperature, positives, negatives, log_expected, hits)
    return loss


class _SampledSoftmax(torch.autograd.Function):
    """The loss with its gradient written out: one (Q, K) array, where autograd would fill and read seven."""

    @staticmethod
    def forward(  # noqa: PLR0917  # torch hands them on by position
        ctx: FunctionCtx, users: Tensor, positives: Tensor, negatives: Tensor, log_expected: Tensor, hits: Tensor
    ) -> Tensor:
        positive = (users * positives).sum(1)  # (Q,)
        sampled = torch.addmm(log_expected, users, negatives.T, beta=-1.0)  # (Q, K)
        sampled.masked_fill_(hits, -torch.inf)
        highest = torch.maximum(sampled.amax(1), positive) if len(negatives) else positive
        chances = sampled.sub_(highest[:, None]).exp_()
        total = chances.sum(1) + torch.exp(positive - highest)
        ctx.save_for_backward(users, positives, negatives, chances.div_(total[:, None]))
        return torch.log(total) + highest - positive

    @staticmethod
    def backward(ctx: BackwardCFunction, *each: Tensor) -> tuple[Tensor | None, ...]:
        saved: tuple[Tensor, ...] = ctx.saved_tensors
        users, positives, negatives, chances = saved
        scale = each[0][:, None]  # (Q, 1)
        wrong = chances.sum(1, keepdim=True)  # what the softmax gives to others than the positive
        scaled = users * scale
        return (chances @ negatives - wrong * positives) * scale, -wrong * scaled, chances.T @ scaled, None, None


def listwise_softmax(scores: Tensor, lists: Tensor, positives: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean cross-entropy of each list's one right candidate (ListNet's top-one form, Cao et al., ICML 2007).

    `scores` (M,) of all candidates, `lists` (M,) the list each belongs to (0..B-1), `positives` (B,) the position of
    each list's right candidate in `scores`, `weights` (B,).
    """
    count = len(weights)
    highest = torch.full((count,), -torch.inf).scatter_reduce(0, lists, scores.detach(), "amax")
    sums = torch.zeros(count).index_add(0, lists, torch.exp(scores - highest[lists]))
    each = torch.log(sums) + highest - scores[positives]
    return (each * weights).sum() / weights.sum()
