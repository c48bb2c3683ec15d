"""What a network reads of a batch of sentences: the states of every embedding, and how words are spelled.

Tokens of a batch lie one behind the other, without padding, until a reader wants rows. Where the states come from is
the only difference between learning on a store, predicting, and fine-tuning.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from lowtide.embeddings.base import Embedder
from lowtide.embeddings.type_vectors import TypeEmbedding
from lowtide.errors import InputError
from lowtide.tasks.state_store import States16, StateStore, compute_states
from lowtide.text.characters import ByteSpelling
from lowtide.text.tokenize import Sentence

_ASKED = [name for name in vars(Embedder) if not name.startswith("_")]
"""Of every embedding."""


@dataclass(frozen=True)
class Batch:
    """Some sentences, their tokens one behind the other."""

    states: list[Tensor]
    """Of every embedding (layers, tokens, width); of one of types (tokens,), their numbers."""
    lengths: Tensor
    """(sentences,)"""
    type_char_ids: Tensor | None = None
    """(types, chars): every type of the batch, spelled once; None if nobody reads letters."""
    type_index: Tensor | None = None
    """(tokens,): which type each is."""


def as_embeddings(embeddings: Embedder | Sequence[Embedder]) -> list[Embedder]:
    """One embedding is a list of one.

    Raises:
        InputError: if there is none, or something has not all that is asked of one.
    """
    found = list(embeddings) if isinstance(embeddings, Sequence) else [embeddings]
    for embedding in found:
        # looked for without asking: a checksum takes its time
        if isinstance(embedding, type) or any(inspect.getattr_static(embedding, n, None) is None for n in _ASKED):
            raise InputError(
                f"found {type(embedding).__name__}, expected an embedding: lowtide.load(...) opens one, unless "
                "stateful=True"
            )
    if not found:
        raise InputError("found no embedding, expected one at least")
    return found


class Source(Protocol):
    """Where the states of an embedding come from."""

    def states(self, numbers: Sequence[int]) -> Tensor:
        """Of the sentences with these numbers, one behind the other; see `Batch`."""


class _Types:
    """Numbers of types, held in memory."""

    def __init__(self, embedding: TypeEmbedding, sentences: Sequence[Sentence]) -> None:
        self._indices = [embedding.indices(sentence) for sentence in sentences]

    def states(self, numbers: Sequence[int]) -> Tensor:
        return torch.from_numpy(np.concatenate([self._indices[number] for number in numbers]))


class _Stored:
    """States from a store."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def states(self, numbers: Sequence[int]) -> Tensor:
        return _joined([self._store.read(number) for number in numbers])


class _Held:
    """States that were computed for a prediction; rounded as those of a store, so that the answers are the same."""

    def __init__(self, embedding: Embedder, sentences: Sequence[Sentence]) -> None:
        self._states = compute_states(embedding, sentences)

    def states(self, numbers: Sequence[int]) -> Tensor:
        return _joined([self._states[number] for number in numbers])


class _Encoded:
    """States from an encoder that learns; they carry gradients."""

    def __init__(self, encoder: nn.Module, sentences: Sequence[Sentence]) -> None:
        self._encoder, self._sentences = encoder, sentences

    def states(self, numbers: Sequence[int]) -> Tensor:
        states = self._encoder([self._sentences[number] for number in numbers])
        tokens: Tensor = states.layers[:, states.mask]
        return tokens


def _joined(states: Sequence[States16]) -> Tensor:
    """(layers, tokens, width) float32."""
    together = torch.from_numpy(np.concatenate(states)).permute(1, 0, 2)
    return together.to(torch.float32, memory_format=torch.contiguous_format)


class Inputs:
    """Numbered sentences, ready to be read in any batch.

    Args:
        sentences: tokens.
        sources: one an embedding.
        spelling: how types are spelled; None if nobody reads letters.
        device: where batches are wanted.
    """

    def __init__(
        self,
        sentences: Sequence[Sentence],
        sources: Sequence[Source],
        *,
        spelling: ByteSpelling | None,
        device: torch.device,
    ) -> None:
        self.sentences = sentences
        self._sources, self._spelling, self._device = sources, spelling, device

    def batch(self, numbers: Sequence[int]) -> Batch:
        """The sentences with these numbers."""
        lengths = torch.tensor([len(self.sentences[number]) for number in numbers])
        states = [source.states(numbers).to(self._device) for source in self._sources]
        if self._spelling is None:
            return Batch(states, lengths)
        index: dict[str, int] = {}
        places = [index.setdefault(token, len(index)) for number in numbers for token in self.sentences[number]]
        char_ids = torch.from_numpy(self._spelling.char_ids(list(index)))
        return Batch(
            states, lengths, char_ids.to(self._device), torch.tensor(places, dtype=torch.long, device=self._device)
        )


def make_sources(
    embeddings: Sequence[Embedder],
    sentences: Sequence[Sentence],
    encoders: Sequence[nn.Module | None],
    *,
    store: Path | None = None,
    files: ExitStack | None = None,
) -> list[Source]:
    """Where the states of every embedding come from.

    Args:
        embeddings: of any rung.
        sentences: tokens.
        encoders: one an embedding: the network that learns, if it does.
        store: the folder of stores; None: states are held in memory.
        files: closes the stores.
    """
    sources: list[Source] = []
    for embedding, encoder in zip(embeddings, encoders, strict=True):
        if isinstance(embedding, TypeEmbedding):
            sources.append(_Types(embedding, sentences))
        elif encoder is not None:
            sources.append(_Encoded(encoder, sentences))
        elif store is None:
            sources.append(_Held(embedding, sentences))
        else:
            opened = StateStore.of(embedding, sentences, store)
            sources.append(_Stored((files or ExitStack()).enter_context(closing(opened))))
    return sources
