"""One row alone, step by step: a recurrence in which nothing can be done at once but the two directions.

There is little arithmetic in a product of one row: what it costs is fetching the weight, and what it costs to call.
NumPy does both quicker than PyTorch: its products take the weight as it lies, with threads of their own, and its calls
are short. Only the sigmoid is PyTorch's, over the same memory.

What is doubled, the head of `lowtide.model.packed_lstm` says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowtide.model.lstm import LSTMConfig

Array = NDArray[np.float32]


class SingleRow:
    """The weights of one layer in one direction, lying as they are fetched.

    Args:
        recurrent: (4 * cell width, state width), the candidate doubled.
        projection: (state width, cell width), doubled; None if the state is the cell's own output.
    """

    def __init__(self, recurrent: Tensor, projection: Tensor | None) -> None:
        self.recurrent = _transposed(recurrent)
        self.projection = None if projection is None else _transposed(projection)


def read_single_row(
    layers: Sequence[SingleRow],
    config: LSTMConfig,
    input_gates: Sequence[Tensor],
    hidden: Tensor,
    cells: Tensor,
    outputs: Tensor,
) -> None:
    """Run one layer of every direction over steps of one row; the cells are changed in their place.

    Args:
        layers: of every direction.
        config: of all of them.
        input_gates: (steps, 4 * cell width) of every direction.
        hidden: (directions, 1, state width) before the first step.
        cells: (directions, 1, cell width) before the first step, doubled.
        outputs: (directions, steps, state width), to be filled.
    """
    width = config.cell_width
    gates, halves = torch.empty(len(layers), 4 * width), torch.empty(len(layers), width)
    g, m = gates.numpy(), halves.numpy()  # the same memory
    i, f, s, o = g[:, :width], g[:, width : 2 * width], g[:, 2 * width : 3 * width], g[:, 3 * width :]
    c = cells[:, 0].numpy()
    recurrent = [(layer.recurrent, g[d]) for d, layer in enumerate(layers)]
    given = np.stack([of_direction.numpy() for of_direction in input_gates], axis=1)  # (steps, directions, gates)
    written = np.empty((len(given), len(layers), config.state_width), np.float32)
    h = hidden[:, 0].numpy()
    half, four = np.array(0.5, np.float32), np.array(4, np.float32)
    cell_limits = _limits(config.cell_clip and 2 * config.cell_clip, c)
    state_limits = _limits(config.projection_clip if config.is_projected else None, h)
    for input_gate, output in zip(given, written, strict=True):
        for (weight, product), state in zip(recurrent, h, strict=True):
            np.dot(state, weight, out=product)
        np.add(g, input_gate, out=g)
        gates.sigmoid_()
        np.subtract(s, half, out=m)  # half of the candidate
        np.multiply(m, i, out=m)
        np.multiply(m, four, out=m)
        np.multiply(c, f, out=c)
        np.add(c, m, out=c)
        for limit, where in cell_limits:
            limit(c, where, out=c)
        torch.sigmoid(cells[:, 0], out=halves)
        np.subtract(m, half, out=m)
        np.multiply(m, o, out=m)  # o * tanh(c / 2) / 2
        for layer, inner, state in zip(layers, m, output, strict=True):
            if layer.projection is None:
                np.add(inner, inner, out=state)
            else:
                np.dot(inner, layer.projection, out=state)
        for limit, where in state_limits:
            limit(output, where, out=output)
        h = output
    outputs.copy_(torch.from_numpy(written).transpose(0, 1))


def _limits(clip: float | None, like: Array) -> list[tuple[np.ufunc, Array]]:
    """What clips an array in its place. Limits as wide as the array are the quickest to call with."""
    if clip is None:
        return []
    return [(np.maximum, np.full_like(like, -clip)), (np.minimum, np.full_like(like, clip))]


def _transposed(weight: Tensor) -> Array:
    return np.ascontiguousarray(weight.detach().numpy().T)
