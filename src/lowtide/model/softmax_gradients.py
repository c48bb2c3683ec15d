"""The loss of a softmax and its gradients in one go, some rows at a time.

The same numbers as `Softmax.loss` and `Softmax.sampled_loss` with autograd behind them. But logits of all targets at
once are the largest thing in a training by far, and to write and read them a dozen times takes longer than the products
they come from. Here a block of them is made, turned into probabilities and used up while it is near; no more than that
is ever held, on any device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lowtide.model.softmax import Candidates, Softmax

_LOGITS_AT_ONCE = {"cpu": 1 << 20}
"""Numbers of a block, by the kind of device: what its cache holds."""
_ELSEWHERE = 1 << 26


@dataclass(frozen=True)
class SoftmaxGradients:
    """Of the mean nats."""

    nats: Tensor
    """The mean over the targets, a scalar; 0 without targets."""
    states: Tensor
    """(targets, width)"""
    weight: Tensor
    """(vocabulary, width); sparse where the softmax is, with rows that may stand twice."""
    bias: Tensor
    """(vocabulary,)"""


@torch.no_grad()
def softmax_gradients(
    softmax: Softmax, states: Tensor, targets: Tensor, candidates: Candidates | None
) -> SoftmaxGradients:
    """Predict, and see how far off that was.

    Args:
        softmax: of both directions.
        states: (targets, width), of one direction.
        targets: (targets,) vocabulary indices.
        candidates: of a sampled softmax; None: the full one.
    """
    count = max(len(targets), 1)
    weight: Tensor = softmax.weight
    bias: Tensor = softmax.bias
    if candidates is not None:
        weight = softmax.weight.index_select(0, candidates.indices)
        bias = softmax.bias[candidates.indices] - candidates.log_expected
        true_weight = softmax.weight.index_select(0, targets)  # (targets, width)
        true = torch.linalg.vecdot(states, true_weight) + softmax.bias[targets]
        true = true - candidates.log_expected_of_all[targets]  # (targets,)
        places = torch.searchsorted(candidates.indices, targets).clamp(max=len(candidates.indices) - 1)
        was_drawn = candidates.indices[places] == targets
    d_states = torch.empty_like(states)
    d_weight, d_bias = torch.zeros_like(weight), torch.zeros_like(bias)
    surprise = states.new_empty(len(targets))  # of the target: p - 1, the gradient of its logit
    nats = states.new_zeros(())
    num_logits = len(weight) + (candidates is not None)
    rows = max(16, _LOGITS_AT_ONCE.get(states.device.type, _ELSEWHERE) // num_logits)
    block = states.new_empty(min(rows, len(targets)), num_logits)
    for first in range(0, len(targets), rows):
        here = slice(first, min(first + rows, len(targets)))
        logits = block[: here.stop - first]
        others = logits[:, : len(weight)]
        torch.addmm(bias, states[here], weight.t(), out=others)
        if candidates is None:
            target = targets[here, None]
        else:
            row = was_drawn[here].nonzero()[:, 0]
            others[row, places[here][row]] = -torch.inf
            logits[:, -1] = true[here]
            target = targets.new_full((len(logits), 1), num_logits - 1)
        nats += (torch.logsumexp(logits, dim=1) - logits.gather(1, target)[:, 0]).sum()
        probabilities = torch.softmax(logits, dim=1, out=logits)
        if candidates is None:
            probabilities.scatter_add_(1, target, torch.full_like(target, -1, dtype=states.dtype))
        else:
            surprise[here] = probabilities[:, -1] - 1
        d_weight.addmm_(others.t(), states[here])
        d_bias += others.sum(dim=0)
        torch.mm(others, weight, out=d_states[here])
    if candidates is None:
        return SoftmaxGradients(nats / count, d_states / count, d_weight / count, d_bias / count)
    d_states.addcmul_(true_weight, surprise[:, None])
    indices = torch.cat([candidates.indices, targets])
    values = torch.cat([d_weight, states * surprise[:, None]]) / count
    d_all = softmax.bias.new_zeros(len(softmax.bias)).index_add_(0, indices, torch.cat([d_bias, surprise]) / count)
    if softmax.sparse:
        of_weight = torch.sparse_coo_tensor(indices[None], values, softmax.weight.shape, check_invariants=False)
    else:
        of_weight = torch.zeros_like(softmax.weight).index_add_(0, indices, values)
    return SoftmaxGradients(nats / count, d_states / count, of_weight, d_all)
