"""Warm state: what the published tools did, kept to reproduce numbers that were made with it.

Their networks remembered, from one batch to the next, the last state of every row, and began the sentence that stood
in that row of the next batch with it. So a vector depended on what had been embedded before. Here, and nowhere else
in lowtide, that can be had.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.encoder import Encoder, measuring, run_batch, sentence_places
from lowtide.embeddings.layers import Reduction
from lowtide.errors import InputError
from lowtide.model import Carry, States, Trunk
from lowtide.model.recurrence import LayerState
from lowtide.text.batches import Batch, batch_of_documents
from lowtide.text.tokenize import Sentence


class WarmState:
    """The states of all rows between two batches; at first they are zero."""

    def __init__(self) -> None:
        self.carry: Carry | None = None
        """Of every row that was ever run; None at first."""

    def reset(self) -> None:
        """Forget everything."""
        self.carry = None

    def run(self, trunk: Trunk, batch: Batch, rows: Sequence[int] | None = None) -> States:
        """Run a batch that goes on where its rows ended, and remember where they end now.

        Args:
            trunk: the network; one that carries nothing begins at zero each time.
            batch: its own starts are not looked at.
            rows: which remembered rows these are; the first ones if not given. All others stay as they are.
        """
        numbers = torch.tensor(range(len(batch.lengths)) if rows is None else rows)
        begun = dataclasses.replace(batch, starts=np.zeros_like(batch.starts))
        carry = None if self.carry is None else _mapped(self.carry, lambda state: _taken(state, numbers))
        states = run_batch(trunk, begun, carry)
        if states.carry is not None:
            self._remember(states.carry, numbers)
        return states

    def _remember(self, carry: Carry, numbers: Tensor) -> None:
        last = _mapped(carry, torch.Tensor.detach)
        old = self.carry or _mapped(last, lambda state: state[:0])
        size = max(int(numbers.max()) + 1, len(old.forward[0].cell))
        self.carry = Carry(
            [_merged(a, b, numbers, size) for a, b in zip(old.forward, last.forward, strict=True)],
            [_merged(a, b, numbers, size) for a, b in zip(old.backward, last.backward, strict=True)],
        )


def _mapped(carry: Carry, change: Callable[[Tensor], Tensor]) -> Carry:
    return Carry(
        *(
            [LayerState(change(state.hidden), change(state.cell)) for state in direction]
            for direction in (carry.forward, carry.backward)
        )
    )


def _grown(state: Tensor, size: int) -> Tensor:
    return torch.cat([state, state.new_zeros(max(0, size - len(state)), state.shape[1])])


def _taken(state: Tensor, numbers: Tensor) -> Tensor:
    return _grown(state, int(numbers.max()) + 1)[numbers.to(state.device)]


def _merged(old: LayerState, new: LayerState, numbers: Tensor, size: int) -> LayerState:
    hidden, cell = (
        _grown(before, size).index_copy(0, numbers.to(before.device), after)
        for before, after in ((old.hidden, new.hidden), (old.cell, new.cell))
    )
    return LayerState(hidden, cell)


def embed_warm(
    encoder: Encoder, sentences: Iterable[Sentence], rows: int | None, reduction: Reduction, state: WarmState
) -> Iterator[Vectors]:
    """One array a sentence, batch after batch, each from the state in which the one before ended.

    Args:
        encoder: on its device.
        sentences: tokens.
        rows: sentences of a batch; None: all of them are one.
        reduction: what to make of the layers.
        state: to begin with, and to go on with afterwards.

    Raises:
        InputError: if a batch would have no row.
    """
    check_rows(rows)
    rest = iter(sentences)
    while batch := list(itertools.islice(rest, rows)):
        documents = [[sentence] for sentence in batch]
        with measuring(encoder):
            states = state.run(encoder.bilm, batch_of_documents(documents, encoder.spelling)[0])
            reduced = reduction(states).float().cpu().numpy()  # (..., batch, positions, width)
        for row, document in enumerate(documents):
            [place] = sentence_places(document)
            yield reduction.finish(document[0], reduced[..., row, place, :].copy())


def check_rows(rows: int | None) -> None:
    """Refuse a batch without a row.

    Raises:
        InputError: if there is none.
    """
    if rows is not None and (isinstance(rows, bool) or rows < 1):
        raise InputError(f"a batch of {rows} rows: expected at least 1")
