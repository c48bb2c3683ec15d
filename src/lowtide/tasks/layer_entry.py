"""How an embedding enters a network: its layers become one vector a token.

The scalars of equation 1 (Peters et al. 2018) are learned here, with the task: `LayerMix` with gamma and s, and lambda
||s||^2 in the loss. Or one fixed choice of layers, to compare with. An embedding of types enters as a table.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lowtide.embeddings.base import Embedder
from lowtide.embeddings.layers import choose_layers
from lowtide.embeddings.one_hot import OneHot
from lowtide.embeddings.type_vectors import TypeEmbedding
from lowtide.model import LayerMix, States
from lowtide.model.layer_mix import norm_tokens
from lowtide.tasks.options import LEARNED, LayerOptions

ONE_HOT_WIDTH = 100
"""Of the vectors that are learned for one-hot types."""


class Entry(nn.Module):
    """What an embedding says of some tokens, to (tokens, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.mix: LayerMix | None = None
        """The scalars, if they are learned."""

    @abstractmethod
    def forward(self, states: Tensor) -> Tensor:
        """Give every token its vector."""


class LayerEntry(Entry):
    """The layers of a contextual embedding: (layers, tokens, width) to (tokens, width).

    Args:
        num_layers: layer 0 counts.
        width: of every layer.
        options: which layers, or all of them with learned scalars.

    Raises:
        InputError: if there is no such layer.
    """

    def __init__(self, num_layers: int, width: int, options: LayerOptions) -> None:
        super().__init__(width)
        self._is_normed = options.layer_norm == "token"
        if options.choice == LEARNED:
            self.mix = LayerMix(num_layers, layer_norm=options.layer_norm)
        else:
            self._reduce = choose_layers(options.choice, num_layers)

    def forward(self, states: Tensor) -> Tensor:
        """Mix, or choose: (layers, tokens, width) to (tokens, width)."""
        layers = states[:, None]  # (layers, 1, tokens, width): all tokens as one row
        mask = torch.ones(layers.shape[1:3], dtype=torch.bool, device=layers.device)
        if self.mix is not None:
            mixed: Tensor = self.mix(layers, mask)
            return mixed[0]
        if self._is_normed:
            layers = norm_tokens(layers)
        return self._reduce(States(layers, mask))[0]


class TableEntry(Entry):
    """The vectors of types, looked up: (tokens,) to (tokens, width).

    One-hot vectors times a matrix are rows of that matrix, so it is learned as a table; it begins at zero, and stays
    there for types that no example holds. Vectors that come from elsewhere are learned further only where embeddings
    are fine-tuned.

    Args:
        embedding: the types and their vectors.
        is_tuned: whether the vectors are learned further.
    """

    def __init__(self, embedding: TypeEmbedding, *, is_tuned: bool) -> None:
        num_types = len(embedding.vocabulary)
        is_new = isinstance(embedding, OneHot)
        if is_new:
            table = torch.zeros(num_types, ONE_HOT_WIDTH)
        else:
            table = torch.from_numpy(embedding.rows(np.arange(num_types))).clone()
        super().__init__(table.shape[1])
        self.is_tuned = is_tuned and not is_new
        """Whether the table begins as the vectors of the embedding, and is learned further."""
        self.table: Tensor
        if is_new or is_tuned:
            self.table = nn.Parameter(table)
        else:
            self.register_buffer("table", table, persistent=False)  # the embedding itself has it

    def forward(self, states: Tensor) -> Tensor:
        """Look up: (tokens,) to (tokens, width)."""
        return functional.embedding(states, self.table)


def make_entry(embedding: Embedder, options: LayerOptions, *, is_tuned: bool) -> Entry:
    """The entry of an embedding.

    Args:
        embedding: of any rung.
        options: how its layers enter; an embedding of one layer has nothing to choose.
        is_tuned: whether vectors of types are learned further.
    """
    if isinstance(embedding, TypeEmbedding):
        return TableEntry(embedding, is_tuned=is_tuned)
    return LayerEntry(embedding.num_layers, embedding.width, options)
