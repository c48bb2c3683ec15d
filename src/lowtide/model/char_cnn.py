"""The token networks: from how a type is spelled to its vector, before any context (layer 0).

`CharCNN` follows Kim et al. (2016), "Character-aware neural language models", in the form that
Peters et al. (2018) trained: convolutions over characters, max over positions, highways, and a
projection. `SymbolEmbedding` serves alphabets so small that a type is a character, and models that
were trained on words. `SymbolsAndCharacters` looks at both (Che et al. 2018).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class CharCNNConfig:
    """Sizes of a `CharCNN`. Published names stand in brackets."""

    num_characters: int = 262
    embedding_width: int = 16
    """[embedding.dim]"""
    filters: tuple[tuple[int, int], ...] = (
        (1, 32),
        (2, 32),
        (3, 64),
        (4, 128),
        (5, 256),
        (6, 512),
        (7, 1024),
    )
    """(characters seen at once, how many such filters)."""
    num_highways: int = 1
    """[n_highway]"""
    activation: Literal["relu", "tanh"] = "relu"
    max_characters: int = 50
    """[max_characters_per_token], both word marks included."""
    has_projection: bool = True
    """False only for published files whose filters sum to the width: they carry none."""

    @property
    def num_filters(self) -> int:
        """The width before the projection."""
        return sum(count for _, count in self.filters)

    @property
    def widest_filter(self) -> int:
        """The most characters that a filter sees at once."""
        return max(chars for chars, _ in self.filters)


@dataclass(frozen=True)
class SymbolConfig:
    """Sizes of a `SymbolEmbedding`."""

    num_symbols: int
    embedding_width: int | None = None
    """Of what is looked up; a projection makes a token vector of it. None: the token vector itself is looked up."""
    max_letters: int | None = None
    """How many letters of a longer symbol are looked up; None: all."""


_LENGTHS = (7, 10, 14)
"""Of a row in characters, with the marks of its ends: where groups of like length part."""


class Highway(nn.Module):
    """g * relu(W_t x + b_t) + (1 - g) * x, with the gate g = sigmoid(W_g x + b_g).

    Srivastava et al. (2015), https://arxiv.org/abs/1505.00387. In the published files the gate is
    called "carry" although it opens the transform. The activation is relu, whatever that of the
    convolutions.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.transform = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        # as published: mostly open to x at first, so that a gradient reaches the filters
        for linear in (self.transform, self.gate):
            nn.init.normal_(linear.weight, std=1 / math.sqrt(width))
        nn.init.zeros_(self.transform.bias)
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., width) to (..., width)."""
        gate = torch.sigmoid(self.gate(inputs))
        return torch.lerp(inputs, functional.relu(self.transform(inputs)), gate)


class CharCNN(nn.Module):
    """Spellings to vectors, once per type.

    Every filter is as wide as some characters and looks at all places of the word without padding;
    its largest answer counts (max over positions first, then the activation). In-word padding has
    a vector of its own and takes part.

    Args:
        config: the sizes.
        width: of the vectors that come out.
    """

    def __init__(self, config: CharCNNConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.char_embedding = nn.Embedding(config.num_characters, config.embedding_width)
        nn.init.uniform_(self.char_embedding.weight, -1.0, 1.0)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(config.embedding_width, count, chars) for chars, count in config.filters
        )
        for convolution in self.convolutions:
            self._init_convolution(convolution)
        self.highways = nn.ModuleList(Highway(config.num_filters) for _ in range(config.num_highways))
        self.projection = _projection(config.num_filters, width) if config.has_projection else nn.Identity()

    def _init_convolution(self, convolution: nn.Module) -> None:
        assert isinstance(convolution, nn.Conv1d) and convolution.bias is not None
        if self.config.activation == "relu":
            nn.init.uniform_(convolution.weight, -0.05, 0.05)
        else:
            fan_in = convolution.kernel_size[0] * self.config.embedding_width
            nn.init.normal_(convolution.weight, std=math.sqrt(1 / fan_in))
        nn.init.zeros_(convolution.bias)

    def forward(self, type_char_ids: Tensor) -> Tensor:
        """Give every type its vector.

        Args:
            type_char_ids: (types, chars) int.

        Returns:
            (types, width).
        """
        vectors: Tensor = self.projection(self.features(type_char_ids))
        return vectors

    def features(self, type_char_ids: Tensor) -> Tensor:
        """What is projected: (types, chars) to (types, filters)."""
        features = self._answers(type_char_ids)
        for highway in self.highways:
            features = highway(features)
        return features

    def _answers(self, type_char_ids: Tensor) -> Tensor:
        """The largest answer of every filter: (types, chars) to (types, filters).

        Places where every row only repeats its padding are left out. That is exact: one place with nothing but padding
        under the widest filter is left, and all further ones would give the same answer. In training, rows of like
        length stand together, so that few places are looked at in short ones.
        """
        lengths = _num_used(type_char_ids)  # (types,)
        if not self.training:
            return self._answers_at(type_char_ids, int(lengths.amax()) if len(lengths) else 1)
        order = torch.argsort(lengths, stable=True)
        ordered = lengths[order]
        ends = [int(torch.searchsorted(ordered, bound, right=True)) for bound in _LENGTHS] + [len(order)]
        answers = [
            self._answers_at(type_char_ids[order[first:end]], int(ordered[end - 1]))
            for first, end in itertools.pairwise([0, *ends])
            if end > first
        ]
        if not answers:
            return self._answers_at(type_char_ids, 1)
        return torch.cat(answers).index_select(0, torch.argsort(order))

    def _answers_at(self, type_char_ids: Tensor, num_used: int) -> Tensor:
        """The answers to rows of which so many places are used."""
        activation = torch.relu if self.config.activation == "relu" else torch.tanh
        characters = self.char_embedding(type_char_ids[:, : num_used + self.config.widest_filter])
        answers = []
        for convolution in self.convolutions:
            assert isinstance(convolution, nn.Conv1d)
            # one product with all places side by side, (types, places, embedding * chars): quicker than a convolution
            places = characters.unfold(1, convolution.kernel_size[0], 1).flatten(2)
            answer = functional.linear(places, convolution.weight.flatten(1), convolution.bias)
            # with indices the gradient goes to one place, and is several times cheaper than that of amax, which
            # divides it among equals
            largest = answer.max(dim=1).values if torch.is_grad_enabled() else answer.amax(dim=1)
            answers.append(activation(largest))
        return torch.cat(answers, dim=1)


def _num_used(type_char_ids: Tensor) -> Tensor:
    """How many characters of every row stand before those that only repeat the last one: (types,)."""
    differs = type_char_ids != type_char_ids[:, -1:]  # (types, chars)
    places = torch.arange(1, type_char_ids.shape[1] + 1, device=type_char_ids.device)
    return (differs * places).amax(dim=1)


class SymbolEmbedding(nn.Module):
    """One vector a symbol, looked up: for alphabets in which a type is not made of characters, and for words.

    Args:
        config: the sizes.
        width: of the vectors that come out.
    """

    def __init__(self, config: SymbolConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.num_symbols, config.embedding_width or width)
        nn.init.normal_(self.embedding.weight, std=0.5)
        self.projection = _projection(config.embedding_width, width) if config.embedding_width else nn.Identity()

    def forward(self, type_char_ids: Tensor) -> Tensor:
        """(types, 1) symbol indices to (types, width)."""
        vectors: Tensor = self.projection(self.embedding(type_char_ids[:, 0]))
        return vectors


class SymbolsAndCharacters(nn.Module):
    """What is known of a type as a whole, and what its characters tell, concatenated and projected.

    The token network of ELMoForManyLangs: Che et al. (2018), https://arxiv.org/abs/1807.03121.

    Args:
        symbols: with an embedding width of their own.
        characters: the sizes.
        width: of the vectors that come out.
    """

    def __init__(self, symbols: SymbolConfig, characters: CharCNNConfig, width: int) -> None:
        super().__init__()
        assert symbols.embedding_width is not None
        self.embedding = nn.Embedding(symbols.num_symbols, symbols.embedding_width)
        nn.init.normal_(self.embedding.weight, std=0.5)
        self.characters = CharCNN(dataclasses.replace(characters, has_projection=False), width)
        self.projection = _projection(symbols.embedding_width + characters.num_filters, width)

    def forward(self, type_char_ids: Tensor) -> Tensor:
        """(types, 1 + chars), the symbol first, to (types, width)."""
        symbols = self.embedding(type_char_ids[:, 0])
        vectors: Tensor = self.projection(torch.cat([symbols, self.characters.features(type_char_ids[:, 1:])], dim=1))
        return vectors


def _projection(input_width: int, width: int) -> nn.Linear:
    projection = nn.Linear(input_width, width)
    nn.init.normal_(projection.weight, std=1 / math.sqrt(input_width))
    nn.init.zeros_(projection.bias)
    return projection
