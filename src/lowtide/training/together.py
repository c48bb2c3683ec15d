"""One batch, learnt by several processes, each from its own rows.

The rows of a batch are dealt out in turn, so a row has the same place in every batch and its state stays where it is.
What each process has learnt weighs as much as the share of the targets that it had; the sum over all is then the
gradient of the mean, as one process would have it, up to rounding. Who has which share, everyone can count: all
know the whole batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowtide.model import Candidates, Carry
from lowtide.model.recurrence import LayerState
from lowtide.text.batches import NO_TARGET, TrainingBatch, rows_of_part
from lowtide.training.learning import Learnt, Networks, learn, num_targets
from lowtide.training.ranks import Ranks


def learn_together(
    ranks: Ranks,
    networks: Networks,
    batch: TrainingBatch,
    *,
    candidates: Candidates | None,
    carry: Carry | None,
    seed: int,
) -> Learnt:
    """As `learn`; the gradients and the nats are those of the whole batch, in every process.

    Dropout is drawn by every process for its own rows, so with dropout another number of processes is another draw.

    Args:
        ranks: the processes.
        networks: the same in all of them.
        batch: the whole of it, the same in all of them.
        candidates: of a sampled softmax, the same in all of them; None: of another one.
        carry: the states of the own rows.
        seed: of the dropout, the same in all of them.
    """
    if ranks.size == 1:
        return learn(networks, batch, candidates=candidates, carry=carry, seed=seed)
    part = batch.part(ranks.rank, ranks.size)
    shares = num_targets(networks, part) / np.maximum(num_targets(networks, batch), 1)
    own_seed = seed * ranks.size + ranks.rank
    learnt = learn(networks, part, candidates=candidates, carry=carry, seed=own_seed, shares=shares.tolist())
    [nats] = ranks.total(learnt.nats)
    weight = networks.softmax.weight
    gradients = [p.grad for p in networks.parameters() if p.grad is not None and not p.grad.is_sparse]
    if weight.grad is not None and weight.grad.is_sparse:
        rows = torch.from_numpy(_touched(batch, candidates)).to(weight.device)
        values = _values_at(rows, weight.grad)
        ranks.sum_([*gradients, values])
        weight.grad = torch.sparse_coo_tensor(rows[None], values, weight.shape, check_invariants=False)
    else:
        ranks.sum_(gradients)
    return dataclasses.replace(learnt, nats=nats)


def _touched(batch: TrainingBatch, candidates: Candidates | None) -> NDArray[np.int64]:
    """The rows of the softmax that learn anything from a batch, rising."""
    drawn = [] if candidates is None else [candidates.indices.cpu().numpy()]
    every = np.concatenate([*drawn, batch.targets.forward.ravel(), batch.targets.backward.ravel()])
    return np.unique(every[every != NO_TARGET])


def _values_at(rows: Tensor, gradient: Tensor) -> Tensor:
    """(rows, width): a sparse gradient, in which a row may stand twice, in places that are the same for all."""
    values = gradient._values()
    places = torch.searchsorted(rows, gradient._indices()[0])
    return values.new_zeros(len(rows), values.shape[1]).index_add_(0, places, values)


def carry_of_all(ranks: Ranks, carry: Carry | None) -> Carry | None:
    """The states of all rows in their order, from those that every process has; behind them may stand some more."""
    if carry is None or ranks.size == 1:
        return carry
    own = len(carry.forward[0].hidden)
    [most] = ranks.total(own if ranks.is_first else 0)  # nobody has more than the first one

    def spread(tensor: Tensor) -> Tensor:
        rows = tensor.new_zeros(int(most) * ranks.size, tensor.shape[1])
        rows[ranks.rank :: ranks.size][:own] = tensor
        return rows

    rows = _each(carry, spread)
    ranks.sum_([tensor for state in [*rows.forward, *rows.backward] for tensor in (state.hidden, state.cell)])
    return rows


def carry_of_own(ranks: Ranks, carry: Carry | None) -> Carry | None:
    """Of the states of all rows those of the rows that this process has."""
    if carry is None or ranks.size == 1:
        return carry
    rows = rows_of_part(len(carry.forward[0].hidden), ranks.rank, ranks.size)
    return _each(carry, lambda tensor: tensor[rows])


def _each(carry: Carry, change: Callable[[Tensor], Tensor]) -> Carry:
    """Every state, changed."""
    directions = (
        [LayerState(change(state.hidden), change(state.cell)) for state in states]
        for states in (carry.forward, carry.backward)
    )
    return Carry(*directions)
