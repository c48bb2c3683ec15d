"""Warm state: what the published tools did, kept to reproduce numbers that were made with it.

Their networks remembered, from one batch to the next, the last state of every row, and began the sentence that stood
in that row of the next batch with it. So a vector depended on what had been embedded before. Here, and nowhere else
in lowtide, that can be had.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np
import torch
from torch import Tensor

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.encoder import measuring, run_batch, sentence_places
from lowtide.embeddings.inputs import Texts, as_sentences
from lowtide.embeddings.layers import choose_layers
from lowtide.errors import InputError
from lowtide.model import Carry, LayerMix, States, Trunk
from lowtide.model.recurrence import LayerState
from lowtide.text.batches import Batch, batch_of_documents
from lowtide.text.tokenize import Sentence

if TYPE_CHECKING:
    from lowtide.embeddings.elmo import Elmo


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


class Session:
    """An ELMo that remembers: for old numbers only.

    What: the r-th sentence of a call begins with the state in which the r-th sentence of the call before ended. When:
    you must reproduce vectors of bilm-tf, AllenNLP or ELMoForManyLangs, whose state was warm. How to get one:
    ``lowtide.load(model, stateful=True)``. What to do: give it the very batches, in the very order, that were given
    then; or name their size once, with ``rows``.

    Args:
        elmo: the model.
        rows: sentences of a batch; a call with more of them is several batches. None: a call is a batch.
    """

    def __init__(self, elmo: Elmo, *, rows: int | None = None) -> None:
        if rows is not None and (isinstance(rows, bool) or rows < 1):
            raise InputError(f"a batch of {rows} rows: expected at least 1")
        self.elmo, self.rows = elmo, rows
        self._state = WarmState()

    def reset(self) -> None:
        """Forget everything: the next sentence begins at zero."""
        self._state.reset()

    @overload
    def embed(self, sentences: str, *, layers: str | int = "mix", mix: LayerMix | None = None) -> Vectors: ...
    @overload
    def embed(self, sentences: Texts, *, layers: str | int = "mix", mix: LayerMix | None = None) -> list[Vectors]: ...
    def embed(
        self, sentences: Texts | str, *, layers: str | int = "mix", mix: LayerMix | None = None
    ) -> list[Vectors] | Vectors:
        """As `Elmo.embed`, with warm state."""
        if layers == "all":
            raise InputError("layers='all' gives another shape: use embed_layers(sentences)")
        return self._embed(sentences, layers, mix)

    def _embed(self, sentences: Texts | str, layers: str | int, mix: LayerMix | None) -> list[Vectors] | Vectors:
        texts: Texts = [sentences] if isinstance(sentences, str) else sentences
        cut = as_sentences(texts, self.elmo.tokenizer)
        vectors = list(self.embed_iter(cut, layers=layers, mix=mix))
        return vectors[0] if isinstance(sentences, str) else vectors

    @overload
    def embed_layers(self, sentences: str) -> Vectors: ...
    @overload
    def embed_layers(self, sentences: Texts) -> list[Vectors]: ...
    def embed_layers(self, sentences: Texts | str) -> list[Vectors] | Vectors:
        """As `Elmo.embed_layers`, with warm state."""
        return self._embed(sentences, "all", None)

    def embed_iter(
        self, sentences: Iterable[Sentence], *, layers: str | int = "mix", mix: LayerMix | None = None
    ) -> Iterator[Vectors]:
        """One array a sentence, of sentences that are tokens already, batch after batch."""
        reduction = choose_layers(layers, self.elmo.num_layers, mix)
        encoder = self.elmo.encoder()
        rest = iter(sentences)
        while batch := list(itertools.islice(rest, self.rows)):
            documents = [[sentence] for sentence in batch]
            with measuring(encoder):
                states = self._state.run(encoder.bilm, batch_of_documents(documents, encoder.spelling)[0])
                reduced = reduction(states).float().cpu().numpy()  # (..., batch, positions, width)
            for row, document in enumerate(documents):
                [place] = sentence_places(document)
                yield reduced[..., row, place, :].copy()

    def __repr__(self) -> str:
        return f"Session({self.elmo!r}, rows={self.rows})"


def embed_warm(elmo: Elmo, sentences: Iterable[Sentence], rows: int) -> Iterator[Vectors]:
    """Every layer of sentences that are tokens already, embedded in batches of so many rows with warm state."""
    return Session(elmo, rows=rows).embed_iter(sentences, layers="all")
