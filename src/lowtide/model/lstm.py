"""The LSTM of the paper: a projected state, both cell and projection clipped.

The cell (bilm-tf; Sak et al. 2014, https://arxiv.org/abs/1402.1128), gates in PyTorch's order::

    i, f, o = sigmoid(...)   g = tanh(...)      of  W x + U h + b, the forget bias added to f
    c = clip(f * c + i * g, cell_clip)
    h = clip(P (o * tanh(c)), projection_clip)   both the output and the recurrent state

PyTorch's own ``nn.LSTM(proj_size=...)`` clips neither, and so cannot compute the published models.

Everything here is packed, step by step: see `lowtide.model.recurrence`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lowtide.model.dropouts import Dropouts, dropped
from lowtide.model.recurrence import LayerState, PackedSteps, RecurrentWeights, recur
from lowtide.model.rounded import linear, rounded


@dataclass(frozen=True)
class LSTMConfig:
    """Sizes of the recurrence. Published names stand in brackets."""

    cell_width: int
    """[lstm.dim]"""
    width: int
    """[lstm.projection_dim] Of the token vectors, and of the state where it is projected."""
    num_layers: int = 2
    """[lstm.n_layers]"""
    cell_clip: float | None = 3.0
    projection_clip: float | None = 3.0
    """[lstm.proj_clip]"""
    has_residual: bool = True
    """[lstm.use_skip_connections] From the second layer up: the input is added to the output."""
    forget_bias: float = 1.0
    """Added to the forget gate at run time; it is not in the stored bias."""
    has_projection: bool | None = None
    """Whether the cell's output is projected. None: if the state is narrower than the cell, as published."""

    @property
    def is_projected(self) -> bool:
        """Whether there is a projection; if not, the state is as wide as the cell."""
        return self.width < self.cell_width if self.has_projection is None else self.has_projection

    @property
    def state_width(self) -> int:
        """The width of the state that one layer hands to the next step."""
        return self.width if self.is_projected else self.cell_width


class ProjectedLSTM(nn.Module):
    """One layer in one direction.

    Args:
        config: the sizes.
        input_width: of what comes in.
    """

    def __init__(self, config: LSTMConfig, input_width: int) -> None:
        super().__init__()
        self.config = config
        self.goes_back_once = False
        """See `lowtide.model.recurrence.RecurrentWeights`."""
        self.training_dtype: torch.dtype | None = None
        """To which operands of products are rounded while training; None: to none."""
        gates = 4 * config.cell_width
        self.input_weight = nn.Parameter(torch.empty(gates, input_width))
        self.recurrent_weight = nn.Parameter(torch.empty(gates, config.state_width))
        self.bias = nn.Parameter(torch.zeros(gates))
        self.projection_weight: nn.Parameter | None = None
        if config.is_projected:
            self.projection_weight = nn.Parameter(torch.empty(config.width, config.cell_width))
            nn.init.xavier_uniform_(self.projection_weight)
        # Glorot's bound of the one matrix that TensorFlow keeps the two in
        bound = (6 / (input_width + config.state_width + gates)) ** 0.5
        nn.init.uniform_(self.input_weight, -bound, bound)
        nn.init.uniform_(self.recurrent_weight, -bound, bound)

    def forward(
        self, inputs: Tensor, steps: PackedSteps, state: LayerState, recurrent_weight: Tensor | None = None
    ) -> tuple[Tensor, LayerState]:
        """Read packed inputs, step by step.

        Args:
            inputs: (positions, input width), packed.
            steps: how they lie.
            state: before the first step, longest row first.
            recurrent_weight: in the place of the layer's own, of which some may be left out; None: that itself.

        Returns:
            (positions, state width), packed, and the state of every row after its last step.
        """
        is_plain = not self.config.is_projected and self.config.cell_clip is None
        if is_plain and inputs.is_cuda and not any(keep is not None for keep in steps.keeps):
            return self.read_plainly(inputs, steps, state, recurrent_weight)
        weights = RecurrentWeights(
            self.recurrent_weight if recurrent_weight is None else recurrent_weight,
            self.projection_weight,
            self.config.cell_clip,
            self.config.projection_clip,
            self._dtype,
            self.goes_back_once,
        )
        return recur(self._input_gates(inputs), steps, state, weights)

    def read_plainly(
        self, inputs: Tensor, steps: PackedSteps, state: LayerState, recurrent_weight: Tensor | None = None
    ) -> tuple[Tensor, LayerState]:
        """As `forward`, by the kernel of PyTorch: without projection, clips, and states that start amid a row.

        On a GPU that is cuDNN, which reads all steps in one call; on a CPU our own loop is as quick.
        """
        bias = self._whole_bias()
        recurrent = self.recurrent_weight if recurrent_weight is None else recurrent_weight
        weights = (self.input_weight, recurrent, bias, torch.zeros_like(bias))
        outputs, hidden, cell = torch.lstm(
            rounded(inputs, self._dtype),
            torch.tensor(steps.rows_at),
            [rounded(state.hidden[None], self._dtype), rounded(state.cell[None], self._dtype)],
            [rounded(weight, self._dtype) for weight in weights],
            True,  # biases
            1,  # layer
            0.0,  # dropout
            self.training,
            False,  # not both directions
        )
        return outputs.to(inputs.dtype), LayerState(hidden[0].to(inputs.dtype), cell[0].to(inputs.dtype))

    def _input_gates(self, inputs: Tensor) -> Tensor:
        """W x + b for all positions in one product."""
        return linear(inputs, self.input_weight, self._whole_bias(), self._dtype)

    @property
    def _dtype(self) -> torch.dtype | None:
        return self.training_dtype if self.training else None

    def _whole_bias(self) -> Tensor:
        """The bias with what is added to the forget gate."""
        cell_width = self.config.cell_width
        forget = torch.zeros_like(self.bias)
        forget[cell_width : 2 * cell_width] = self.config.forget_bias
        return self.bias + forget


class LSTMStack(nn.Module):
    """All layers of one direction.

    Args:
        config: the sizes.
        dropouts: of the input of every layer and of the recurrent weights, while training.
    """

    def __init__(self, config: LSTMConfig, *, dropouts: Dropouts) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(
            ProjectedLSTM(config, config.width if number == 0 else config.state_width)
            for number in range(config.num_layers)
        )
        self.dropouts = dropouts

    def forward(
        self,
        inputs: Tensor,
        steps: PackedSteps,
        states: Sequence[LayerState],
        generator: torch.Generator | None = None,
    ) -> tuple[list[Tensor], list[LayerState]]:
        """Read packed token vectors; every layer answers.

        The residual stands outside the recurrence, from the second layer up: the state that a
        layer carries never contains it.

        Args:
            inputs: (positions, width), packed.
            steps: how they lie.
            states: of every layer, before the first step.
            generator: draws the dropout; None: PyTorch's own.

        Returns:
            The output of every layer, (positions, state width) each, and the states after the
            last steps.
        """
        drops = self.dropouts if self.training else Dropouts()
        rows = steps.rows if drops.is_locked else None
        outputs: list[Tensor] = []
        last: list[LayerState] = []
        for number, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            assert isinstance(layer, ProjectedLSTM)
            seen = dropped(inputs, drops.hidden if number else drops.inputs, generator, rows=rows)
            recurrent_weight = dropped(layer.recurrent_weight, drops.recurrent, generator)
            read, after = layer(seen, steps, state, recurrent_weight)
            inputs = inputs + read if number and self.config.has_residual else read
            outputs.append(inputs)
            last.append(after)
        return outputs, last

    def zero_states(self, rows: int, like: Tensor) -> list[LayerState]:
        """States that remember nothing, in the dtype and on the device of another tensor."""
        config = self.config
        return [
            LayerState(like.new_zeros(rows, config.state_width), like.new_zeros(rows, config.cell_width))
            for _ in self.layers
        ]
