"""The two doors: what is asked of every embedding, and of one that carries gradients."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import nn

from lowtide.embeddings.inputs import Texts

Vectors = NDArray[np.float32]


@runtime_checkable
class Embedder(Protocol):
    """Any rung: sentences in, NumPy arrays out, no gradient."""

    @property
    def num_layers(self) -> int:
        """Layer 0, before any context, counts."""

    @property
    def width(self) -> int:
        """Of every vector."""

    @property
    def checksum(self) -> str:
        """64 hexadecimal digits that tell this embedding from every other one."""

    def embed(self, sentences: Texts) -> list[Vectors]:
        """One (tokens, width) array a sentence."""

    def embed_layers(self, sentences: Texts) -> list[Vectors]:
        """One (layers, tokens, width) array a sentence."""


@runtime_checkable
class Encodes(Embedder, Protocol):
    """An embedding that can be trained further."""

    def encoder(self) -> nn.Module:
        """A module whose ``forward(sentences) -> States`` carries gradients.

        Its layers are (layers, batch, tokens, width), boundaries left out.
        """
