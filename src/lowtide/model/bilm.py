"""The bidirectional language model: a token network and two stacks of LSTMs that read it.

Peters et al. (2018), "Deep contextualized word representations", section 3.1,
https://arxiv.org/abs/1802.05365. The two directions share the token network (and, in training,
the softmax, which is not in here).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lowtide.errors import ConfigError
from lowtide.model.char_cnn import CharCNN, CharCNNConfig, SymbolConfig, SymbolEmbedding, SymbolsAndCharacters
from lowtide.model.dropouts import Dropouts
from lowtide.model.lstm import LSTMConfig, LSTMStack
from lowtide.model.recurrence import LayerState, PackedSteps

_WIDEST = 1 << 20
_MOST_PARTS = 1000
_MOST_SYMBOLS = 1 << 30
_LONGEST_TYPE = 1 << 12
_LARGEST = 1e30
"""Far beyond any network: what is larger is a mistake, or a trap."""


@dataclass(frozen=True)
class BiLMConfig:
    """What a network is made of. At least one of ``char_cnn`` and ``symbols`` is given."""

    lstm: LSTMConfig
    char_cnn: CharCNNConfig | None = None
    symbols: SymbolConfig | None = None
    dropout: float = 0.1
    """Of the input of every LSTM layer and of what the softmax reads, while training, unless a training has rates of
    its own (`lowtide.model.dropouts`)."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built.

        Raises:
            ConfigError: if no token network is given, or sizes are not positive or do not fit.
        """
        self._check_lstm()
        if self.char_cnn is None and self.symbols is None:
            raise ConfigError("a biLM has a token network: give char_cnn, symbols or both")
        if self.char_cnn is not None:
            self._check_characters(self.char_cnn)
        if self.symbols is not None:
            self._check_symbols(self.symbols)
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}, expected 0 up to 1")

    def _check_lstm(self) -> None:
        lstm = self.lstm
        if min(lstm.cell_width, lstm.width, lstm.num_layers) < 1:
            raise ConfigError(f"sizes of an LSTM are at least 1, found {lstm}")
        if max(lstm.cell_width, lstm.width) > _WIDEST or lstm.num_layers > _MOST_PARTS:
            raise ConfigError(f"sizes of an LSTM are at most {_WIDEST}, its layers {_MOST_PARTS}, found {lstm}")
        if lstm.state_width != lstm.width:
            raise ConfigError(
                f"token vectors of width {lstm.width} over cells of {lstm.cell_width} without a projection: "
                "all layers have one width"
            )
        if not abs(lstm.forget_bias) < _LARGEST:
            raise ConfigError(f"forget_bias is {lstm.forget_bias}, expected a number within {_LARGEST:g}")
        for name, clip in (("cell_clip", lstm.cell_clip), ("projection_clip", lstm.projection_clip)):
            if clip is not None and not clip > 0:
                raise ConfigError(f"{name} is {clip}, expected more than 0, or null")

    def _check_characters(self, network: CharCNNConfig) -> None:
        sizes = (network.num_characters, network.embedding_width, *(size for pair in network.filters for size in pair))
        if min(sizes) < 1:
            raise ConfigError(
                f"embedding_width is {network.embedding_width} and filters are {network.filters}, "
                "expected at least 1 everywhere"
            )
        if not network.filters or network.num_highways < 0 or network.max_characters < 3:
            raise ConfigError(
                f"found filters {network.filters}, num_highways {network.num_highways}, max_characters "
                f"{network.max_characters}: expected one filter or more, 0 highways or more, 3 characters or more"
            )
        if max(*sizes[1:], network.num_filters, network.max_characters) > _WIDEST or sizes[0] > _MOST_SYMBOLS:
            raise ConfigError(f"sizes of a character network are at most {_WIDEST}, found {network}")
        if max(len(network.filters), network.num_highways) > _MOST_PARTS:
            raise ConfigError(f"a character network has at most {_MOST_PARTS} filters and highways, found {network}")
        if network.max_characters > _LONGEST_TYPE:
            raise ConfigError(f"max_characters is {network.max_characters}, expected at most {_LONGEST_TYPE}")
        if network.widest_filter > network.max_characters:
            raise ConfigError(
                f"a filter over {network.widest_filter} characters has no place in a row of {network.max_characters}"
            )
        if not network.has_projection and (self.symbols is not None or network.num_filters != self.lstm.width):
            raise ConfigError(
                f"without a projection the {network.num_filters} filters are the token vector, "
                f"which has width {self.lstm.width}"
            )

    def _check_symbols(self, symbols: SymbolConfig) -> None:
        if symbols.num_symbols < 1 or (symbols.embedding_width is not None and symbols.embedding_width < 1):
            raise ConfigError(f"sizes of symbols are at least 1, found {symbols}")
        if symbols.num_symbols > _MOST_SYMBOLS or (symbols.embedding_width or 0) > _WIDEST:
            raise ConfigError(f"found {symbols}, expected at most {_MOST_SYMBOLS} symbols of width {_WIDEST}")
        if symbols.max_letters is not None and not 0 < symbols.max_letters <= _WIDEST:
            raise ConfigError(f"max_letters is {symbols.max_letters}, expected 1 to {_WIDEST}, or null")
        if self.char_cnn is not None and symbols.embedding_width is None:
            raise ConfigError("symbols beside characters have an embedding_width of their own, found none")


@dataclass(frozen=True)
class Carry:
    """The states of all rows between two calls.

    The forward states enter a row at its first position, the backward ones at its last; they come
    out where each direction stopped reading.
    """

    forward: Sequence[LayerState]
    """One a layer; (rows, ...) in the order of the batch."""
    backward: Sequence[LayerState]


@dataclass(frozen=True)
class States:
    """Every layer at every position.

    Layer 0 is the token vector twice, so that all layers have one width; the others are the
    forward state and then the backward state.
    """

    layers: Tensor
    """(layers, batch, tokens, width); zero where the mask is false."""
    mask: Tensor
    """(batch, tokens), true where there is a position."""
    carry: Carry | None = None
    """What to hand to the next call, if the text goes on."""

    @property
    def forward_layers(self) -> Tensor:
        """(layers, batch, tokens, width / 2): what has read from the left, up to and with a token."""
        return self.layers[..., : self.layers.shape[-1] // 2]

    @property
    def backward_layers(self) -> Tensor:
        """(layers, batch, tokens, width / 2): what has read from the right."""
        return self.layers[..., self.layers.shape[-1] // 2 :]


class Trunk(nn.Module, ABC):
    """Spelled types and their places to the states of every layer.

    It has no softmax: embedding never loads the largest matrix. It has no memory: the same row
    gives the same states alone, in any batch and in any order.
    """

    token_network: CharCNN | SymbolEmbedding | SymbolsAndCharacters

    def __init__(self, config: BiLMConfig) -> None:
        super().__init__()
        self.config = config
        width = config.lstm.width
        if config.char_cnn is None:
            assert config.symbols is not None
            self.token_network = SymbolEmbedding(config.symbols, width)
        elif config.symbols is None:
            self.token_network = CharCNN(config.char_cnn, width)
        else:
            self.token_network = SymbolsAndCharacters(config.symbols, config.char_cnn, width)

    @property
    def type_vectors(self) -> Tensor | None:
        """(types, width), where types are looked up and come out as they lie there; None elsewhere."""
        network = self.token_network
        if isinstance(network, SymbolEmbedding) and network.config.embedding_width is None:
            return network.embedding.weight
        return None

    @property
    @abstractmethod
    def num_layers(self) -> int:
        """Layer 0 counts."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Of every layer: twice that of one direction."""

    @abstractmethod
    def read_layers(
        self, vectors: Tensor, type_index: Tensor, starts: Tensor, lengths: Tensor, carry: Carry | None
    ) -> tuple[list[Tensor], Carry | None]:
        """All layers above 0, (batch, tokens, width) each, and what is carried on; arguments as of `forward`.

        Args:
            vectors: (types, width), from ``token_network``.
            type_index: (batch, tokens).
            starts: (batch, tokens).
            lengths: (batch,).
            carry: the states to begin with.
        """

    def forward(
        self,
        type_char_ids: Tensor,
        type_index: Tensor,
        starts: Tensor,
        lengths: Tensor,
        carry: Carry | None = None,
    ) -> States:
        """Run both directions over a batch.

        The forward state is zero before every start; the backward state is zero before the
        position left of every start (which it reads first). Nothing else is reset: without
        ``carry`` all states begin at zero.

        Args:
            type_char_ids: (types, chars) int, how every type in the batch is spelled.
            type_index: (batch, tokens) int, the type of every position.
            starts: (batch, tokens) bool.
            lengths: (batch,) int, at least 1; what lies beyond is not read.
            carry: states to begin with, if the text goes on from an earlier call.

        Returns:
            (layers, batch, tokens, width), with their mask and the carry for the next call.
        """
        vectors = self.token_network(type_char_ids)  # (types, width)
        mask = torch.arange(starts.shape[1], device=lengths.device) < lengths[:, None]  # (batch, tokens)
        token_layer = vectors[type_index] * mask[..., None]  # (batch, tokens, width)
        layers, carried = self.read_layers(vectors, type_index, starts, lengths, carry)
        return States(torch.stack([torch.cat([token_layer, token_layer], dim=-1), *layers]), mask, carried)


class BiLM(Trunk):
    """The published network: two stacks of LSTMs, one for each direction, that never meet.

    Args:
        config: the sizes.
        dropouts: of a training; None: the one rate of the config.
    """

    def __init__(self, config: BiLMConfig, *, dropouts: Dropouts | None = None) -> None:
        super().__init__(config)
        self.dropouts = Dropouts.plain(config.dropout) if dropouts is None else dropouts
        self.forward_lstm = LSTMStack(config.lstm, dropouts=self.dropouts)
        self.backward_lstm = LSTMStack(config.lstm, dropouts=self.dropouts)

    @property
    def num_layers(self) -> int:
        """Layer 0 counts."""
        return self.config.lstm.num_layers + 1

    @property
    def width(self) -> int:
        """Of every layer: twice that of one direction."""
        return 2 * self.config.lstm.state_width

    def read_layers(
        self, vectors: Tensor, type_index: Tensor, starts: Tensor, lengths: Tensor, carry: Carry | None
    ) -> tuple[list[Tensor], Carry | None]:
        """See `Trunk.read_layers`."""
        ahead, back = (None, None) if carry is None else (carry.forward, carry.backward)
        forward, forward_carry = self.read_forward(vectors, type_index, starts, lengths, ahead)
        backward, backward_carry = self.read_backward(vectors, type_index, starts, lengths, back)
        layers = [torch.cat(pair, dim=-1) for pair in zip(forward, backward, strict=True)]
        return layers, Carry(forward_carry, backward_carry)

    def read_forward(
        self,
        vectors: Tensor,
        type_index: Tensor,
        starts: Tensor,
        lengths: Tensor,
        carry: Sequence[LayerState] | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[list[Tensor], list[LayerState]]:
        """The forward direction alone; arguments as of `forward`, with types that are vectors already.

        Args:
            vectors: (types, width), from ``token_network``.
            type_index: (batch, tokens).
            starts: (batch, tokens).
            lengths: (batch,).
            carry: the state of every layer before the first position.
            generator: draws the dropout; None: PyTorch's own.

        Returns:
            (batch, tokens, state width) of every layer above 0, and their states after the last position.
        """
        places = torch.arange(starts.shape[1], device=lengths.device)
        columns = places.expand_as(starts)
        return _read(self.forward_lstm, vectors, type_index, _Layout(columns, lengths, starts), carry, generator)

    def read_backward(
        self,
        vectors: Tensor,
        type_index: Tensor,
        starts: Tensor,
        lengths: Tensor,
        carry: Sequence[LayerState] | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[list[Tensor], list[LayerState]]:
        """The backward direction alone, as `read_forward`; it enters a row at its last position.

        Where the first position of a row is a start, what stands left of it is another text: there
        the state that comes out is zero.
        """
        places = torch.arange(starts.shape[1], device=lengths.device)
        columns = (lengths[:, None] - 1 - places).clamp(min=0)
        ends = torch.zeros_like(starts)
        ends[:, :-1] = starts[:, 1:] & (places[1:] < lengths[:, None])
        layers, last = _read(self.backward_lstm, vectors, type_index, _Layout(columns, lengths, ends), carry, generator)
        goes_on = ~starts[:, :1]
        return layers, [LayerState(state.hidden * goes_on, state.cell * goes_on) for state in last]


def _read(
    stack: LSTMStack,
    vectors: Tensor,
    type_index: Tensor,
    layout: _Layout,
    carry: Sequence[LayerState] | None,
    generator: torch.Generator | None,
) -> tuple[list[Tensor], list[LayerState]]:
    rows = len(type_index)
    states = stack.zero_states(rows, vectors) if carry is None else layout.sorted_states(carry)
    outputs, last = stack(vectors.index_select(0, layout.pack(type_index)), layout.steps, states, generator)
    return [layout.unpack(output) for output in outputs], layout.unsorted_states(last)


class _Layout:
    """From (batch, tokens) to the packed steps of one direction, and back."""

    def __init__(self, columns: Tensor, lengths: Tensor, resets: Tensor) -> None:
        self._rows, self._tokens = columns.shape  # (batch, tokens): what is read first, second, ...
        self._order = order = torch.argsort(lengths, descending=True, stable=True)
        steps = torch.arange(self._tokens, device=lengths.device)
        live = steps[:, None] < lengths[order]  # (steps, rows)
        flat = (order[:, None] * self._tokens + columns[order]).t()
        self._places = flat[live]  # (positions,): where each packed position lies in the batch
        reset = resets.flatten()[flat] & live
        rows_at: list[int] = live.sum(dim=1).tolist()
        has_reset: list[bool] = reset.any(dim=1).tolist()
        keeps = [(~reset[t, :rows, None]) if has_reset[t] else None for t, rows in enumerate(rows_at) if rows]
        self.steps = PackedSteps([rows for rows in rows_at if rows], keeps)

    def pack(self, values: Tensor) -> Tensor:
        """(batch, tokens) to (positions,)."""
        return values.flatten()[self._places]

    def unpack(self, values: Tensor) -> Tensor:
        """(positions, width) to (batch, tokens, width), zero where there is no position."""
        blank = values.new_zeros(self._rows * self._tokens, values.shape[1])
        return blank.index_copy(0, self._places, values).view(self._rows, self._tokens, values.shape[1])

    def sorted_states(self, states: Sequence[LayerState]) -> list[LayerState]:
        """From the order of the batch to longest row first."""
        return [LayerState(state.hidden[self._order], state.cell[self._order]) for state in states]

    def unsorted_states(self, states: Sequence[LayerState]) -> list[LayerState]:
        """From longest row first to the order of the batch."""
        back = torch.argsort(self._order)
        return [LayerState(state.hidden[back], state.cell[back]) for state in states]
