"""What stands around a token, from afar: the mean of the other words of its sentence, rare ones weighing more.

The weight of a word is a / (a + p), with p its frequency: Arora et al. (2017), https://openreview.net/forum?id=SyK00v5xx.
A mean of words knows what a sentence is about, whatever their order; states of a language model know what would fit in
a place. Neither has what the other has: put together, they tell senses better than either.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lowtide.embeddings.base import Vectors
from lowtide.text.tokenize import Sentence
from lowtide.text.vocabulary import SPECIALS, Vocabulary

SMOOTHING = 1e-3
"""a."""


def rarity(vocabulary: Vocabulary) -> NDArray[np.float32]:
    """(types,): a / (a + p), with p the frequency of a type; 0 for boundaries and unknown words."""
    counts = vocabulary.counts[len(SPECIALS) :].astype(np.float64)
    frequencies = counts / max(1.0, counts.sum())
    return np.concatenate([np.zeros(len(SPECIALS)), SMOOTHING / (SMOOTHING + frequencies)]).astype(np.float32)


def mean_of_others(vectors: Vectors, weights: NDArray[np.float32]) -> Vectors:
    """The weighted mean of all tokens but the one at every place; zero where there is none.

    Args:
        vectors: (tokens, width), of a sentence.
        weights: (tokens,).
    """
    columns = weights.astype(np.float64)[:, None]
    weighted = vectors * columns
    total = columns.sum() - columns
    others = (weighted.sum(axis=0) - weighted) / np.maximum(total, np.finfo(np.float32).tiny)
    return np.where(total > SMOOTHING * SMOOTHING, others, 0).astype(np.float32)


@dataclass(frozen=True)
class JoinSurroundings:
    """The two surroundings of every token of a sentence, side by side, each of length 1."""

    vocabulary: Vocabulary
    width: int
    """Of the states that come first."""

    @cached_property
    def _rarity(self) -> NDArray[np.float32]:
        return rarity(self.vocabulary)

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the words and their weights."""
        digest = hashlib.sha256(json.dumps(self.vocabulary.types).encode())
        digest.update(self._rarity.data)
        return digest.hexdigest()

    def __call__(self, sentence: Sentence, vectors: Vectors) -> Vectors:
        """(tokens, width + half), the states around a token and the words themselves, to the same shape."""
        weights = self._rarity[self.vocabulary.indices(sentence)]
        around, words = vectors[:, : self.width], vectors[:, self.width :]
        return np.concatenate([_unit(around), _unit(mean_of_others(words, weights))], axis=1)


def _unit(vectors: Vectors) -> Vectors:
    """Of length 1; zeros stay zeros."""
    unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    return unit
