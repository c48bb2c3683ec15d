"""The loss of a batch and its gradients, the two directions side by side.

The directions meet in two places only: in the vectors of the types, and in the softmax. So each of them reads, predicts
and learns by itself, with half of the cores, and what they say to these two is added up behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from lowtide.embeddings.encoder import index_tensors
from lowtide.embeddings.side_by_side import side_by_side
from lowtide.model import BiLM, Candidates, Carry, Softmax
from lowtide.model.lstm import dropped
from lowtide.model.recurrence import LayerState, first_rows
from lowtide.text.batches import NO_TARGET, TrainingBatch


@dataclass(frozen=True)
class Learnt:
    """What came of one batch."""

    nats: float
    """The mean of both directions, as sampled."""
    carry: Carry
    """The states after the batch; they carry no gradient."""


@dataclass(frozen=True)
class _Read:
    """What one direction has read and predicted."""

    vectors: Tensor
    """(types, width), a leaf: whose gradient is wanted."""
    top: Tensor
    """(targets, state width)"""
    nats: Tensor
    """The mean over the targets."""
    d_top: Tensor
    d_softmax: Sequence[Tensor]
    """The gradients of the softmax's weight and bias."""
    after: list[LayerState]


def learn(
    bilm: BiLM, softmax: Softmax, batch: TrainingBatch, *, candidates: Candidates | None, carry: Carry | None, seed: int
) -> Learnt:
    """Leave the gradients of a batch in the parameters, where there are none yet.

    Args:
        bilm: in training, with dropout, if its config has one.
        softmax: of both directions.
        batch: what is read, and what is to be predicted.
        candidates: of a sampled softmax; None: the full one.
        carry: the states to go on with; only its first rows, if there are fewer now.
        seed: of the dropout.
    """
    device = softmax.weight.device
    vectors = bilm.token_network(torch.from_numpy(batch.batch.type_char_ids).to(device))
    steps = [partial(_read, bilm, softmax, batch, direction, vectors, candidates, carry, seed) for direction in (0, 1)]
    reads = side_by_side(*steps, with_gradients=True)
    stacks: list[nn.Module] = [bilm.forward_lstm, bilm.backward_lstm]
    backs = [partial(_gradients, stack, read) for stack, read in zip(stacks, reads, strict=True)]
    d_vectors = side_by_side(*backs, with_gradients=True)
    vectors.backward(d_vectors[0] + d_vectors[1])
    ahead, back = reads
    for parameter, *gradients in zip((softmax.weight, softmax.bias), ahead.d_softmax, back.d_softmax, strict=True):
        gradient = gradients[0] + gradients[1]
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient  # it may be tied
    return Learnt(float(ahead.nats + back.nats) / 2, Carry(ahead.after, back.after))


def read_top(
    bilm: BiLM,
    batch: TrainingBatch,
    direction: int,
    vectors: Tensor,
    carry: Carry | None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor, list[LayerState]]:
    """Let one direction read its side of a batch.

    Args:
        bilm: the network.
        batch: whose sides may be read from different places.
        direction: 0 forward, 1 backward.
        vectors: (types, width), from the token network.
        carry: the states to go on with; only its first rows, if there are fewer now.
        generator: draws the dropout; None: PyTorch's own.

    Returns:
        The top layer at every target, (targets, state width), the targets themselves, (targets,), and the states to
        go on with.
    """
    ahead = (batch.batch, bilm.read_forward, batch.targets.forward, None if carry is None else carry.forward)
    back = (
        batch.backward or batch.batch,
        bilm.read_backward,
        batch.targets.backward,
        None if carry is None else carry.backward,
    )
    here, read, wanted, given = (ahead, back)[direction]
    before = None if given is None else first_rows(given, len(here.lengths))
    layers, last = read(vectors, *index_tensors(here, vectors.device), before, generator)
    targets = torch.from_numpy(wanted).to(vectors.device)
    has_target = targets != NO_TARGET
    after = [LayerState(state.hidden.detach(), state.cell.detach()) for state in last]
    return layers[-1][has_target], targets[has_target], after


def _read(
    bilm: BiLM,
    softmax: Softmax,
    batch: TrainingBatch,
    direction: int,
    vectors: Tensor,
    candidates: Candidates | None,
    carry: Carry | None,
    seed: int,
) -> _Read:
    """Let one direction read and predict."""
    generator = torch.Generator(vectors.device).manual_seed(2 * seed + direction)
    vectors = vectors.detach().requires_grad_()
    top, targets, after = read_top(bilm, batch, direction, vectors, carry, generator)
    leaf = top.detach().requires_grad_()
    states = dropped(leaf, bilm.config.dropout if bilm.training else 0.0, generator)
    nats = (
        softmax.loss(states, targets) if candidates is None else softmax.sampled_loss(states, targets, candidates)
    ).sum() / max(len(targets), 1)
    d_top, *d_softmax = torch.autograd.grad(nats / 2, [leaf, softmax.weight, softmax.bias])
    return _Read(vectors, top, nats.detach(), d_top, d_softmax, after)


def _gradients(stack: nn.Module, read: _Read) -> Tensor:
    """Give the parameters of one direction their gradients; returns that of the vectors."""
    parameters = list(stack.parameters())
    d_vectors, *gradients = torch.autograd.grad(read.top, [read.vectors, *parameters], read.d_top)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return d_vectors
