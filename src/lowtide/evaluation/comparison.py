"""The marked words of some sentences, compared at every layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.elmo import Elmo
from lowtide.embeddings.inputs import MarkedSentence, parse_marked
from lowtide.embeddings.layers import SURROUNDINGS
from lowtide.errors import InputError
from lowtide.messages import UI, say
from lowtide.text.tokenize import Sentence

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Cosines between marked words, from -1 to 1."""

    sentences: list[MarkedSentence]
    is_known: list[bool]
    """Whether the model's vocabulary has the marked types."""
    one_hot: Matrix
    """(words, words): 1 where the type is the same, else 0. No context enters."""
    layers: list[Matrix]
    """One (words, words) matrix a layer; layer 0 is before any context."""
    mix: Matrix
    """(words, words), of the mean of all layers."""
    is_calibrated: bool = False
    """Whether every layer was calibrated."""
    surroundings: Matrix | None = None
    """(words, words), of what stands around each word, and not of the word; None where a model cannot tell."""

    def matrices(self) -> dict[str, Matrix]:
        """All of them, by name, from the lowest rung up."""
        named = {f"layer {number}": matrix for number, matrix in enumerate(self.layers)}
        around = {} if self.surroundings is None else {SURROUNDINGS: self.surroundings}
        return {"one-hot": self.one_hot, **named, "mix": self.mix, **around}


def layer_name(name: str, ui: UI | None = None) -> str:
    """What one of the `Comparison.matrices` is, said in a language; None: the one that was chosen."""
    if name == "mix":
        return say("mix: the mean of all layers", ui)
    if name == SURROUNDINGS:
        return say("surroundings: what stands around the word", ui)
    if name == "one-hot":
        return say("one-hot: the word itself", ui)
    number = name.removeprefix("layer ")
    return say("layer 0: before any context", ui) if number == "0" else say("layer {number}", ui, number=number)


def compare(elmo: Elmo, sentences: Sequence[str | Sentence], *, calibrated: bool = False) -> Comparison:
    """How like each other the marked words are, at every layer.

    Args:
        elmo: the model.
        sentences: each with one word in brackets, see `Elmo.embed_word`.
        calibrated: whether every layer is calibrated first, see `Elmo.embed`.

    Raises:
        InputError: if there are fewer than two, or one is not marked.
        ModelError: if the model has no calibration and one is asked for.
    """
    if len(sentences) < 2:
        raise InputError("compare wants at least two sentences with a word in [brackets]")
    marked = [parse_marked(sentence, elmo.tokenizer) for sentence in sentences]
    vectors = marked_vectors(elmo, marked, calibrated=calibrated)  # (words, layers, width)
    types = [sentence.tokens[sentence.first : sentence.last] for sentence in marked]
    return Comparison(
        sentences=marked,
        is_known=[all(map(elmo.knows, tokens)) for tokens in types],
        one_hot=np.array([[float(a == b) for b in types] for a in types]),
        layers=[cosines(vectors[:, layer]) for layer in range(vectors.shape[1])],
        mix=cosines(vectors.mean(axis=1)),
        is_calibrated=calibrated,
        surroundings=cosines(marked_vectors(elmo, marked, layers=SURROUNDINGS, calibrated=calibrated))
        if elmo.has_surroundings
        else None,
    )


def marked_vectors(
    elmo: Elmo, marked: Sequence[MarkedSentence], *, layers: str = "all", calibrated: bool = False
) -> Vectors:
    """The vectors of marked words; of several tokens, their mean.

    Args:
        elmo: the model.
        marked: sentences with a marked word each.
        layers: as in `Elmo.embed_iter`.
        calibrated: likewise.

    Returns:
        (words, width), or (words, layers, width) for ``all``.
    """
    vectors = elmo.embed_iter((sentence.tokens for sentence in marked), layers=layers, calibrated=calibrated)
    return np.stack([v[..., m.first : m.last, :].mean(axis=-2) for v, m in zip(vectors, marked, strict=True)])


def cosines(vectors: NDArray[np.floating]) -> Matrix:
    """(words, width) to (words, words): the cosine of every pair."""
    scaled = vectors.astype(np.float64)
    scaled /= np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-12)
    return np.clip(scaled @ scaled.T, -1.0, 1.0)


@dataclass(frozen=True)
class Separation:
    """How well two uses of one word come apart at a layer."""

    within: float
    """The mean cosine of two tokens of the same use."""
    across: float
    """The mean cosine of two tokens of different uses."""
    nearest_centroid: float
    """The share of tokens that are nearer to the mean of their own use (they themselves left out)
    than to that of the other; 0.5 is chance."""


def separate(vectors: NDArray[np.floating], uses: Sequence[int]) -> Separation:
    """Measure how far two uses lie apart.

    Args:
        vectors: (tokens, width).
        uses: 0 or 1 for each token, each at least twice.
    """
    groups = np.asarray(uses)
    cosine = cosines(vectors)
    is_same = groups[:, None] == groups[None, :]
    is_other_token = ~np.eye(len(groups), dtype=bool)
    scaled = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    right = 0.0
    for number, group in enumerate(groups):
        others = np.arange(len(groups)) != number
        near = [scaled[others & (groups == use)].mean(axis=0) for use in (0, 1)]
        scores = [float(scaled[number] @ mean / max(np.linalg.norm(mean), 1e-12)) for mean in near]
        own, other = scores[group], scores[1 - group]
        right += 0.5 if np.isclose(own, other, atol=1e-6) else float(own > other)
    return Separation(
        within=float(cosine[is_same & is_other_token].mean()),
        across=float(cosine[~is_same].mean()),
        nearest_centroid=right / len(groups),
    )
