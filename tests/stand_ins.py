"""Embeddings whose layers are known, and small tasks that can be learned from them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from lowtide.tasks.seeds import SeedReport

WORDS = ("the", "tide", "bank", "river", "sat", "out")
SENTENCES = [
    ["the", "tide", "sat"],
    ["river", "bank", "out"],
    ["the", "bank"],
    ["tide", "out", "the", "river"],
    ["sat", "river", "bank", "bank"],
    ["out"],
]
TAGS = [
    ["O", "B-X", "O"],
    ["B-Y", "I-Y", "O"],
    ["O", "B-Y"],
    ["B-X", "O", "O", "B-Y"],
    ["O", "B-Y", "I-Y", "I-Y"],
    ["O"],
]
LABELS = ["wet", "wet", "dry", "wet", "dry", "dry"]
"""Of the sentences: wet where there is a tide, or an out with a river."""


class Rung:
    """Three layers, of which only one says which word it is; the others are noise that depends on the place."""

    num_layers = 3
    width = len(WORDS)

    def __init__(self, telling: int = 1) -> None:
        self.telling = telling
        self.num_calls = 0

    @property
    def checksum(self) -> str:
        """Of what decides the numbers."""
        return hashlib.sha256(f"{self.telling}".encode()).hexdigest()

    def embed_layers(self, sentences: Any) -> list[NDArray[np.float32]]:
        """(layers, tokens, width) a sentence."""
        self.num_calls += 1
        return [self._layers(sentence) for sentence in sentences]

    def embed(self, sentences: Any) -> list[NDArray[np.float32]]:
        """The mean of the layers."""
        return [layers.mean(axis=0) for layers in self.embed_layers(sentences)]

    def _layers(self, sentence: Sequence[str]) -> NDArray[np.float32]:
        noise = np.random.default_rng(len(sentence)).normal(size=(self.num_layers, len(sentence), self.width))
        layers = noise.astype(np.float32)
        for place, token in enumerate(sentence):
            layers[self.telling, place] = 2 * np.eye(self.width)[WORDS.index(token)] if token in WORDS else 0
        return layers


def write_conll(path: Path, sentences: Sequence[Sequence[str]] = SENTENCES, tags: Sequence[Any] = TAGS) -> Path:
    """A file of columns."""
    blocks = ["".join(f"{w}\t{t}\n" for w, t in zip(*pair, strict=True)) for pair in zip(sentences, tags, strict=True)]
    path.write_text("\n".join(blocks), encoding="utf-8")
    return path


def write_labelled(path: Path) -> Path:
    """A file of labels and texts."""
    rows = [f"{label}\t{' '.join(words)}\n" for label, words in zip(LABELS, SENTENCES, strict=True)]
    path.write_text("".join(rows), encoding="utf-8")
    return path


def teach(
    train: Path,
    out: Path,
    *,
    resume: bool = False,
    seeds: Sequence[int] = (3, 4),
    epochs: int = 4,
    dropout: float = 0.5,
    telling: int = 1,
    test: Path | None = None,
) -> SeedReport:
    """A run over seeds, of three steps an epoch: those that are stopped, and those that go on."""
    from lowtide.tasks import FitOptions, Tagger, TaggerOptions
    from lowtide.tasks.seeds import Files, fit_seeds

    rung, head = Rung(telling), TaggerOptions(state_width=4, char_filters=2, dropout=dropout)
    return fit_seeds(
        lambda: Tagger(rung, head, device="cpu"),
        Files(train, train, test or train),
        out,
        seeds=seeds,
        options=FitOptions(epochs=epochs, batch_size=2),
        resume=resume,
    )
