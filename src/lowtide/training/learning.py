"""The loss of a batch and its gradients, the two directions side by side.

The directions meet in two places only: in the vectors of the types, and in the softmax. So each of them reads, predicts
and learns by itself, with half of the cores, and what they say to these two is added up behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lowtide.embeddings.encoder import index_tensors
from lowtide.embeddings.side_by_side import side_by_side
from lowtide.model import BiLM, Candidates, Carry, Dropouts, Softmax
from lowtide.model.cloze import ClozeHead
from lowtide.model.dropouts import dropped, dropped_whole
from lowtide.model.recurrence import LayerState, first_rows
from lowtide.model.softmax_gradients import softmax_gradients
from lowtide.text.batches import NO_TARGET, TrainingBatch

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Learnt:
    """What came of one batch."""

    nats: float
    """A target, the mean of both directions; of the sampled loss, where there is one."""
    carry: Carry
    """The states after the batch; they carry no gradient."""


@dataclass(frozen=True)
class Networks:
    """All that learns."""

    bilm: BiLM
    softmax: Softmax
    cloze: ClozeHead | None = None
    """Of the auxiliary objective, if there is one."""
    dtype: torch.dtype | None = None
    """To which operands of products are rounded; None: to none."""

    @property
    def by_name(self) -> dict[str, nn.Module]:
        """``bilm``, ``softmax``, and ``cloze`` if there is one."""
        networks: dict[str, nn.Module] = {"bilm": self.bilm, "softmax": self.softmax}
        return networks if self.cloze is None else {**networks, "cloze": self.cloze}

    def parameters(self) -> list[nn.Parameter]:
        """Each once; what is tied belongs to two networks."""
        return list(dict.fromkeys(p for network in self.by_name.values() for p in network.parameters()))


@dataclass(frozen=True)
class _Read:
    """What one direction has read."""

    vectors: Tensor
    """(types, width), a leaf: whose gradient is wanted."""
    top: Tensor
    """(targets, state width)"""
    targets: Tensor
    """(targets,)"""
    rows: Tensor
    """(targets,), on the CPU: the row of the batch in which each stands."""
    after: list[LayerState]


@dataclass(frozen=True)
class _Predicted:
    """What states have predicted, and what they learn from it."""

    nats: Tensor
    """The mean over the targets."""
    d_states: Tensor
    """(targets, state width)"""
    d_softmax: dict[str, Tensor]
    """The gradients of the softmax's parameters, by name."""


def learn(
    networks: Networks,
    batch: TrainingBatch,
    *,
    candidates: Candidates | None,
    carry: Carry | None,
    seed: int,
    shares: Sequence[float] = (1.0, 1.0, 1.0),
) -> Learnt:
    """Leave the gradients of a batch in the parameters, where there are none yet.

    Args:
        networks: in training, with their dropouts.
        batch: what is read, and what is to be predicted.
        candidates: of a sampled softmax; None: of another one.
        carry: the states to go on with; only its first rows, if there are fewer now.
        seed: of the dropout.
        shares: how much the mean of each objective weighs, in the order of `num_targets`: less than 1 where the batch
            is a part of another one.
    """
    bilm, softmax = networks.bilm, networks.softmax
    device = softmax.weight.device
    # one for each direction, and one for what they share
    generators = [torch.Generator(device).manual_seed(3 * seed + number) for number in range(3)]
    drops = bilm.dropouts if bilm.training else Dropouts()
    with torch.autocast(device.type, dtype=networks.dtype, enabled=networks.dtype is not None):
        all_vectors = bilm.token_network(torch.from_numpy(batch.batch.type_char_ids).to(device))
    all_vectors = all_vectors.to(softmax.weight.dtype)
    vectors = dropped_whole(all_vectors, drops.types, generators[2])
    # a GPU is kept busy by either of them alone
    both = partial(side_by_side, with_gradients=True) if device.type == "cpu" else _one_after_another

    def predict(states: Tensor, targets: Tensor, rows: Tensor, generator: torch.Generator, share: float) -> _Predicted:
        leaf = states.detach().requires_grad_()
        seen = dropped(leaf, drops.outputs, generator, rows=rows if drops.is_locked else None)
        found = softmax_gradients(softmax, seen.detach(), targets, candidates, networks.dtype)
        d_seen = share * found.d_states
        [d_states] = torch.autograd.grad(seen, [leaf], d_seen) if drops.outputs else [d_seen]
        return _Predicted(found.nats, d_states, {name: share * value for name, value in found.d_parameters.items()})

    def go(direction: int) -> tuple[_Read, _Predicted]:
        leaf = vectors.detach().requires_grad_()
        top, targets, after = read_top(bilm, batch, direction, leaf, carry, generators[direction])
        wanted = (batch.targets.forward, batch.targets.backward)[direction]
        read = _Read(leaf, top, targets, torch.from_numpy(np.nonzero(wanted != NO_TARGET)[0]), after)
        return read, predict(top, targets, read.rows, generators[direction], shares[direction] / 2)

    (ahead, of_ahead), (back, of_back) = both(partial(go, 0), partial(go, 1))
    predicted = [of_ahead, of_back]
    if networks.cloze is not None:
        places = _places_between(batch)
        before, behind = (of_direction.to(device) for of_direction in places)
        states = [ahead.top[before].detach().requires_grad_(), back.top[behind].detach().requires_grad_()]
        joined = networks.cloze(*states)
        predicted.append(predict(joined, ahead.targets[before], ahead.rows[places[0]], generators[2], shares[2]))
        joined.backward(predicted[2].d_states)
        for found, rows, state in zip((of_ahead, of_back), (before, behind), states, strict=True):
            assert state.grad is not None
            found.d_states.index_add_(0, rows, state.grad)
    d_vectors = both(
        partial(_gradients, bilm.forward_lstm, ahead, of_ahead.d_states),
        partial(_gradients, bilm.backward_lstm, back, of_back.d_states),
    )
    vectors.backward(d_vectors[0] + d_vectors[1])
    for name, parameter in softmax.named_parameters():
        for found in predicted:
            _add_gradient(parameter, found.d_softmax[name])
    nats = shares[0] * of_ahead.nats + shares[1] * of_back.nats
    return Learnt(float(nats) / 2, Carry(ahead.after, back.after))


def _add_gradient(parameter: nn.Parameter, gradient: Tensor) -> None:
    """Add to the gradient that a parameter has, if it is tied, that of its first rows."""
    if parameter.grad is None:
        assert gradient.shape == parameter.shape
        parameter.grad = gradient
    elif gradient.is_sparse:
        parameter.grad = parameter.grad + gradient
    else:
        parameter.grad[: len(gradient)] += gradient


def num_targets(networks: Networks, batch: TrainingBatch) -> NDArray[np.int64]:
    """(3,): what is to be predicted forward, backward, and from both sides."""
    between = 0 if networks.cloze is None else len(_places_between(batch)[0])
    ahead, back = (np.count_nonzero(t != NO_TARGET) for t in (batch.targets.forward, batch.targets.backward))
    return np.array([ahead, back, between])


def _one_after_another(first: Callable[[], Answer], second: Callable[[], Answer]) -> tuple[Answer, Answer]:
    return first(), second()


def _places_between(batch: TrainingBatch) -> tuple[Tensor, Tensor]:
    """Which of the forward targets and which of the backward ones are the same tokens: (tokens,) each, in one order."""
    assert batch.backward is None, "the two directions read other places"
    ahead, back = batch.targets.forward != NO_TARGET, batch.targets.backward != NO_TARGET  # (rows, steps)
    numbers = [np.full(ahead.shape, -1), np.full(ahead.shape, -1)]
    numbers[0][:, 1:][ahead[:, :-1]] = np.arange(ahead.sum())  # a state predicts what stands behind it
    numbers[1][:, :-1][back[:, 1:]] = np.arange(back.sum())
    both = (numbers[0] >= 0) & (numbers[1] >= 0)
    return torch.from_numpy(numbers[0][both]), torch.from_numpy(numbers[1][both])


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


def _gradients(stack: nn.Module, read: _Read, d_top: Tensor) -> Tensor:
    """Give the parameters of one direction their gradients; returns that of the vectors."""
    parameters = list(stack.parameters())
    d_vectors, *gradients = torch.autograd.grad(read.top, [read.vectors, *parameters], d_top)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    return d_vectors
