"""The loss of a sampled softmax as one expression, for autograd to go through."""

from __future__ import annotations

import torch
from torch.nn import functional

from lowtide.model import Candidates, Softmax


def sampled_loss(softmax: Softmax, states: torch.Tensor, targets: torch.Tensor, drawn: Candidates) -> torch.Tensor:
    """The nats of every target, (targets,), all logits at once and with autograd behind them."""
    true_weight = functional.embedding(targets, softmax.weight, sparse=softmax.sparse)
    true = (states * true_weight).sum(dim=1) + softmax.bias[targets] - drawn.log_expected_of_all[targets]
    weight = functional.embedding(drawn.indices, softmax.weight, sparse=softmax.sparse)
    others = functional.linear(states, weight, softmax.bias[drawn.indices] - drawn.log_expected)
    others = others.masked_fill(drawn.indices == targets[:, None], -torch.inf)  # (targets, samples)
    return torch.logsumexp(torch.cat([others, true[:, None]], dim=1), dim=1) - true
