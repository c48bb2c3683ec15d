"""The recurrence without gradients, as fast as the processor allows: for embedding, never for training.

The same numbers as `lowtide.model.lstm`, up to rounding, by other means:

- every weight is packed once for the kernel that multiplies it (`lowtide.model.products`);
- products of inputs are taken out of the time loop, for as many steps at a time as make a good product; those of the
  first layer come from outside, once per *type* (`PackedStack.input_gates`);
- tanh(x) = 2 sigmoid(2 x) - 1, and sigmoid costs a third of it. The factors of 2, which rounding does not touch, stand
  in the weights: of the candidate gate, of the projection, and in the cell, which is kept as 2 c;
- where one row is left, `lowtide.model.single_row` reads on, if that is quicker than the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lowtide.model.lstm import LSTMConfig, LSTMStack, ProjectedLSTM
from lowtide.model.products import Kernel, Product
from lowtide.model.recurrence import LayerState
from lowtide.model.single_row import SingleRow, read_single_row

ROWS_AT_ONCE = 512
"""Of a product of inputs: enough for its full speed, few enough to hold."""


@dataclass(frozen=True)
class PackedReading:
    """What one direction is to read: packed positions (see `lowtide.model.recurrence`), of which none begins anew."""

    type_gates: Tensor
    """(types, 4 * cell width), from `PackedStack.input_gates`."""
    types: Tensor
    """(positions,) the type at every position."""
    states: Sequence[LayerState]
    """Of every layer before the first step, longest row first."""


Read = tuple[list[Tensor], list[LayerState]]
"""The output of every layer, (positions, state width) each, residuals in them, and the state of every layer after the
last step of every row."""


class PackedStack:
    """All layers of one direction, packed.

    Args:
        stack: whose weights are taken; later changes of them are not seen.
        kernel: what packs and multiplies.
    """

    def __init__(self, stack: LSTMStack, kernel: Kernel) -> None:
        self.config = stack.config
        with torch.inference_mode():
            self.layers = [_PackedLayer(layer, kernel) for layer in stack.layers if isinstance(layer, ProjectedLSTM)]

    def input_gates(self, vectors: Tensor) -> Tensor:
        """What a type says to the gates of the first layer: (types, width) to (types, 4 * cell width)."""
        return self.layers[0].input_product(vectors)

    def read(self, type_gates: Tensor, types: Tensor, rows_at: Sequence[int], states: Sequence[LayerState]) -> Read:
        """Read alone; see `PackedReading` and `read_together`."""
        [answer] = read_together([self], [PackedReading(type_gates, types, states)], rows_at)
        return answer


def read_together(
    stacks: Sequence[PackedStack], readings: Sequence[PackedReading], rows_at: Sequence[int]
) -> list[Read]:
    """Let one direction read, or both step by step together: what is no product is then done once for the two.

    Args:
        stacks: of directions with one config.
        readings: what each is to read.
        rows_at: how many rows are longer than t, for every step t; never rising.
    """
    config = stacks[0].config
    outputs: list[Tensor] = []  # of every layer, (directions, positions, state width)
    last: list[Sequence[LayerState]] = []
    for number in range(config.num_layers):
        layers = [stack.layers[number] for stack in stacks]

        def gates_of(first: int, end: int, layers: list[_PackedLayer] = layers, number: int = number) -> list[Tensor]:
            if number == 0:
                return [reading.type_gates.index_select(0, reading.types[first:end]) for reading in readings]
            return [layer.input_product(output[first:end]) for layer, output in zip(layers, outputs[-1], strict=True)]

        states = [reading.states[number] for reading in readings]
        read, after = _read_layer(layers, config, gates_of, len(readings[0].types), rows_at, states)
        outputs.append(read.add_(outputs[-1]) if number and config.has_residual else read)
        last.append(after)
    return [([output[d] for output in outputs], [after[d] for after in last]) for d in range(len(stacks))]


class _PackedLayer:
    """One layer in one direction; what is doubled in it, the head of this module says."""

    def __init__(self, layer: ProjectedLSTM, kernel: Kernel) -> None:
        config = layer.config
        width = config.cell_width
        bias = layer.bias.detach().clone()
        bias[width : 2 * width] += config.forget_bias
        self.input_product = kernel(_with_doubled_candidate(layer.input_weight), _with_doubled_candidate(bias))
        recurrent = _with_doubled_candidate(layer.recurrent_weight)
        projection = None if layer.projection_weight is None else 2 * layer.projection_weight.detach()
        self.recurrent = kernel(recurrent, None)
        self.projection: Product | None = None if projection is None else kernel(projection, None)
        self.single_row = SingleRow(recurrent, projection) if kernel.leaves_single_rows else None


def _read_layer(
    layers: Sequence[_PackedLayer],
    config: LSTMConfig,
    gates_of: Callable[[int, int], list[Tensor]],
    num_positions: int,
    rows_at: Sequence[int],
    states: Sequence[LayerState],
) -> tuple[Tensor, list[LayerState]]:
    """Run one layer of every direction over packed positions.

    Args:
        layers: of every direction.
        config: of all of them.
        gates_of: W x + b of every direction for the positions from a first to an end, in memory that may be written to.
        num_positions: in all.
        rows_at: how many rows there are at every step.
        states: of every direction before the first step.

    Returns:
        (directions, positions, state width), and the states after the last step of every row, in memory of their own.
    """
    h = torch.stack([state.hidden for state in states])  # (directions, rows, state width)
    cells = torch.stack([state.cell for state in states]).mul_(2)
    last = h.clone()
    outputs = h.new_empty(len(layers), num_positions, config.state_width)
    first = 0
    for steps in _blocks(rows_at):
        end = first + sum(steps)
        if steps[0] == 1 and (alone := [layer.single_row for layer in layers if layer.single_row]):
            last[:, 1 : h.shape[1]] = h[:, 1:]
            h, cell = h[:, :1], cells[:, :1]
            read_single_row(alone, config, gates_of(first, end), h, cell, outputs[:, first:end])
            h, first = outputs[:, end - 1 : end], end
            continue
        gates = zip(*(of_direction.split(steps) for of_direction in gates_of(first, end)), strict=True)
        for n, here, output in zip(steps, gates, outputs[:, first:end].split(steps, dim=1), strict=True):
            if n < h.shape[1]:
                last[:, n : h.shape[1]] = h[:, n:]
                h = h[:, :n]
            _step(layers, config, here, h, cells[:, :n], output)
            h = output
        first = end
    last[:, : h.shape[1]] = h
    return outputs, [LayerState(hidden, cell) for hidden, cell in zip(last, cells.div_(2), strict=True)]


def _step(
    layers: Sequence[_PackedLayer],
    config: LSTMConfig,
    input_gates: Sequence[Tensor],
    h: Tensor,
    c: Tensor,
    output: Tensor,
) -> None:
    """One step of n rows; the cells are changed in their place.

    Args:
        layers: of every direction.
        config: of all of them.
        input_gates: (n, 4 * cell width) of every direction; overwritten.
        h: (directions, n, state width)
        c: (directions, n, cell width), doubled.
        output: (directions, n, state width), to be filled.
    """
    gates = _stacked(
        [layer.recurrent(x, g) for layer, x, g in zip(layers, h.unbind(), input_gates, strict=True)]
    ).sigmoid_()
    i, f, s, o = gates.chunk(4, dim=2)  # the candidate is 2 s - 1
    c.mul_(f).addcmul_(i, s, value=4).sub_(i, alpha=2)
    if config.cell_clip is not None:
        c.clamp_(-2 * config.cell_clip, 2 * config.cell_clip)
    half = torch.sigmoid(c).sub_(0.5).mul_(o)  # o * tanh(c / 2) / 2
    if not config.is_projected:
        torch.mul(half, 2, out=output)
        return
    projected = _stacked(
        [layer.projection(x) for layer, x in zip(layers, half.unbind(), strict=True) if layer.projection]
    )
    if config.projection_clip is None:
        output.copy_(projected)
    else:
        torch.clamp(projected, -config.projection_clip, config.projection_clip, out=output)


def _stacked(answers: list[Tensor]) -> Tensor:
    """Of every direction, (directions, ...); no copy if there is one."""
    return torch.stack(answers) if len(answers) > 1 else answers[0][None]


def _blocks(rows_at: Sequence[int]) -> Iterator[list[int]]:
    """Steps in blocks of some hundred rows, or of one step if it has more; none of one row beside steps of more."""
    block: list[int] = []
    size = 0
    for rows in rows_at:
        if block and (size + rows > ROWS_AT_ONCE or (rows == 1 and block[-1] > 1)):
            yield block
            block, size = [], 0
        block.append(rows)
        size += rows
    if block:
        yield block


def _with_doubled_candidate(weight: Tensor) -> Tensor:
    """A copy of (4 * cell width, ...) in which the rows of the candidate gate, the third, are doubled."""
    doubled = weight.detach().clone()
    width = len(doubled) // 4
    doubled[2 * width : 3 * width] *= 2
    return doubled
