"""The loss of a softmax and its gradients in one go, some rows at a time.

Autograd finds the same numbers behind `Softmax.loss`. But logits of all targets at once are the largest thing in a
training by far, and to write and read them a dozen times takes longer than the products they come from. Here a block of
them is made, turned into probabilities and used up while it is near; no more than that is ever held, on any device.

A sampled softmax has the nats of every target among itself and the candidates, for training only. From every logit the
logarithm of its expected count is taken (the logQ correction), and a candidate that is the target itself does not count
against it. The gradient comes near that of the full softmax as candidates grow in number. As a perplexity its loss is
far too low.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from lowtide.model.adaptive_softmax import AdaptiveSoftmax, rows_within
from lowtide.model.rounded import addmm, mm, rounded
from lowtide.model.softmax import Candidates, Softmax

_CPU_BLOCK = 1 << 20
"""Logits at once: what the cache holds."""
_GPU_BLOCK = 1 << 26
"""Likewise: enough to keep it busy."""


@dataclass(frozen=True)
class SoftmaxGradients:
    """Of the mean nats."""

    nats: Tensor
    """The mean over the targets, a scalar; 0 without targets."""
    d_states: Tensor
    """(targets, width)"""
    d_parameters: dict[str, Tensor]
    """By the name that the softmax has for them. Of ``weight`` the rows that predict; sparse where the softmax is, with
    rows that may stand twice."""


@torch.no_grad()
def softmax_gradients(
    softmax: Softmax,
    states: Tensor,
    targets: Tensor,
    candidates: Candidates | None,
    dtype: torch.dtype | None = None,
) -> SoftmaxGradients:
    """Predict, and see how far off that was.

    Args:
        softmax: of both directions.
        states: (targets, width), of one direction.
        targets: (targets,) vocabulary indices.
        candidates: of a sampled softmax; None: the full one, or an adaptive one.
        dtype: to which operands of products are rounded; None: to none.
    """
    if candidates is not None:
        sums, d_parameters = _sampled(softmax, states, targets, candidates, dtype)
    elif isinstance(softmax, AdaptiveSoftmax):
        sums, d_parameters = _adaptive(softmax, states, targets, dtype)
    else:
        sums = _summed(softmax.rows, softmax.bias, states, targets, dtype)
        d_parameters = {"weight": sums.d_weight, "bias": sums.d_bias}
    count = max(len(targets), 1)
    means = {name: gradient / count for name, gradient in d_parameters.items()}
    return SoftmaxGradients(sums.nats / count, sums.d_states / count, means)


@dataclass(frozen=True)
class _Sums:
    """Over all targets: the nats and their gradients."""

    nats: Tensor
    d_states: Tensor
    """(targets, width)"""
    d_weight: Tensor
    """(types, width)"""
    d_bias: Tensor
    """(types,)"""


@dataclass(frozen=True)
class _OwnLogits:
    """Logits that targets have of their own, beside those that all share."""

    logits: Tensor
    """(targets,)"""
    hides: Tensor
    """(targets,) bool: whether the shared logit at its place is the target itself, and is not to count."""
    surprise: Tensor
    """(targets,) Written to: p - 1, the gradient of the logit."""


def _summed(
    weight: Tensor,
    bias: Tensor,
    states: Tensor,
    places: Tensor,
    dtype: torch.dtype | None,
    own: _OwnLogits | None = None,
) -> _Sums:
    """A block of logits after the other.

    Args:
        weight: (types, width).
        bias: (types,).
        states: (targets, width).
        places: (targets,) which of the types is the target; with logits of their own, which one it would be.
        dtype: of the operands of products; None: as they are.
        own: those logits.
    """
    rounded_states, rounded_weight = rounded(states, dtype), rounded(weight, dtype)
    d_states = torch.empty_like(states)
    d_weight, d_bias = torch.zeros_like(weight), torch.zeros_like(bias)
    nats = states.new_zeros(())
    num_logits = len(weight) + (own is not None)
    rows = max(16, (_CPU_BLOCK if states.device.type == "cpu" else _GPU_BLOCK) // num_logits)
    block = states.new_empty(min(rows, len(places)), num_logits)
    for first in range(0, len(places), rows):
        here = slice(first, min(first + rows, len(places)))
        logits = block[: here.stop - first]
        shared = logits[:, : len(weight)]
        addmm(bias, rounded_states[here], rounded_weight.t(), out=shared)
        if own is None:
            target = places[here, None]
        else:
            row = own.hides[here].nonzero()[:, 0]
            shared[row, places[here][row]] = -torch.inf
            logits[:, -1] = own.logits[here]
            target = places.new_full((len(logits), 1), num_logits - 1)
        nats += (torch.logsumexp(logits, dim=1) - logits.gather(1, target)[:, 0]).sum()
        probabilities = torch.softmax(logits, dim=1, out=logits)
        if own is None:
            probabilities.scatter_add_(1, target, torch.full_like(target, -1, dtype=states.dtype))
        else:
            own.surprise[here] = probabilities[:, -1] - 1
        addmm(d_weight, shared.t(), rounded_states[here], out=d_weight)
        d_bias += shared.sum(dim=0)
        mm(shared, rounded_weight, out=d_states[here])
    return _Sums(nats, d_states, d_weight, d_bias)


def _sampled(
    softmax: Softmax, states: Tensor, targets: Tensor, candidates: Candidates, dtype: torch.dtype | None
) -> tuple[_Sums, dict[str, Tensor]]:
    weight = softmax.weight.index_select(0, candidates.indices)
    bias = softmax.bias[candidates.indices] - candidates.log_expected
    true_weight = softmax.weight.index_select(0, targets)  # (targets, width)
    true = torch.linalg.vecdot(states, true_weight) + softmax.bias[targets]
    true = true - candidates.log_expected_of_all[targets]  # (targets,)
    places = torch.searchsorted(candidates.indices, targets).clamp(max=len(candidates.indices) - 1)
    own = _OwnLogits(true, hides=candidates.indices[places] == targets, surprise=torch.empty_like(true))
    sums = _summed(weight, bias, states, places, dtype, own)
    sums.d_states.addcmul_(true_weight, own.surprise[:, None])
    indices = torch.cat([candidates.indices, targets])
    values = torch.cat([sums.d_weight, states * own.surprise[:, None]])
    d_bias = torch.zeros_like(softmax.bias).index_add_(0, indices, torch.cat([sums.d_bias, own.surprise]))
    if softmax.sparse:
        d_weight = torch.sparse_coo_tensor(indices[None], values, softmax.weight.shape, check_invariants=False)
    else:
        d_weight = torch.zeros_like(softmax.rows).index_add_(0, indices, values)
    return sums, {"weight": d_weight, "bias": d_bias}


def _adaptive(
    softmax: AdaptiveSoftmax, states: Tensor, targets: Tensor, dtype: torch.dtype | None
) -> tuple[_Sums, dict[str, Tensor]]:
    common = softmax.cutoffs[0]
    first = _summed(*softmax.head, states, softmax.head_targets(targets), dtype)
    nats = first.nats
    weights, biases = [first.d_weight[:common]], [first.d_bias[:common]]
    for types in softmax.clusters:
        rows = rows_within(targets, types)
        within = _summed(softmax.weight[types], softmax.bias[types], states[rows], targets[rows] - types.start, dtype)
        nats = nats + within.nats
        first.d_states.index_add_(0, rows, within.d_states)
        weights.append(within.d_weight)
        biases.append(within.d_bias)
    d_parameters = {
        "weight": torch.cat(weights),
        "bias": torch.cat(biases),
        "cluster_weight": first.d_weight[common:],
        "cluster_bias": first.d_bias[common:],
    }
    return dataclasses.replace(first, nats=nats), d_parameters
