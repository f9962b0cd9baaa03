"""Losses, as pure functions."""

from __future__ import annotations

import torch
from torch import Tensor


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
    positive = (users * positives).sum(-1, keepdim=True) / temperature  # (Q, 1)
    sampled = users @ negatives.T / temperature - log_expected  # (Q, K)
    sampled = sampled.masked_fill(hits, -torch.inf)
    return torch.logsumexp(torch.cat([positive, sampled], dim=1), dim=1) - positive.squeeze(1)


def listwise_softmax(scores: Tensor, lists: Tensor, positives: Tensor, count: int) -> Tensor:
    """Mean cross-entropy of the one right candidate of each list (ListNet's top-one form, Cao et al., ICML 2007).

    `scores` (M,) of all candidates, `lists` (M,) the list each belongs to (0..count-1), `positives` (count,) the
    position of each list's right candidate in `scores`.
    """
    highest = torch.full((count,), -torch.inf).scatter_reduce(0, lists, scores.detach(), "amax")
    sums = torch.zeros(count).index_add(0, lists, torch.exp(scores - highest[lists]))
    return (torch.log(sums) + highest - scores[positives]).mean()
