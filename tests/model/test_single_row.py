from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import tiny
from lowtide.model.lstm import LSTMConfig
from lowtide.model.single_row import SingleRow, read_single_row

STEPS = 6
CONFIGS = {
    "published": tiny.LSTM,
    "no clips": dataclasses.replace(tiny.LSTM, cell_clip=None, projection_clip=None),
    "tight clips": dataclasses.replace(tiny.LSTM, cell_clip=0.2, projection_clip=0.1),
    "no projection": LSTMConfig(5, 5, 1, cell_clip=0.3),
}


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    answer: NDArray[np.float64] = 1 / (1 + np.exp(-x))
    return answer


def judged(
    config: LSTMConfig, recurrent: Tensor, projection: Tensor | None, gates: Tensor, hidden: Tensor, cell: Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The published cell, one direction, with nothing doubled: the states, and the last cell."""
    u, x, h, c = (tensor.double().numpy() for tensor in (recurrent, gates, hidden, cell))
    states = []
    for gate in x:
        i, f, g, o = np.split(gate + u @ h, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        c = c if config.cell_clip is None else np.clip(c, -config.cell_clip, config.cell_clip)
        h = sigmoid(o) * np.tanh(c)
        if projection is not None:
            h = projection.double().numpy() @ h
            h = h if config.projection_clip is None else np.clip(h, -config.projection_clip, config.projection_clip)
        states.append(h)
    return np.stack(states), c


def with_doubled_candidate(weight: Tensor, width: int) -> Tensor:
    return torch.cat([weight[: 2 * width], 2 * weight[2 * width : 3 * width], weight[3 * width :]])


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
def test_a_single_row_is_read_as_the_published_cell_reads_it(config: LSTMConfig, directions: int) -> None:
    width, state_width = config.cell_width, config.state_width
    weights = [draw(4 * width, state_width, seed=d) for d in range(directions)]
    projections = [draw(state_width, width, seed=10 + d) if config.is_projected else None for d in range(directions)]
    gates = draw(directions, STEPS, 4 * width, seed=20)
    hidden, cells = draw(directions, 1, state_width, seed=21) / 3, draw(directions, 1, width, seed=22) / 3
    expected = [
        judged(config, weights[d], projections[d], gates[d], hidden[d, 0], cells[d, 0]) for d in range(directions)
    ]
    layers = [
        SingleRow(with_doubled_candidate(weight, width), None if projection is None else 2 * projection)
        for weight, projection in zip(weights, projections, strict=True)
    ]
    given = [with_doubled_candidate(of_direction.t(), width).t().contiguous() for of_direction in gates]
    outputs, doubled = torch.empty(directions, STEPS, state_width), 2 * cells
    with torch.inference_mode():
        read_single_row(layers, config, given, hidden, doubled, outputs)
    for d, (states, cell) in enumerate(expected):
        np.testing.assert_allclose(outputs[d].numpy(), states, rtol=0, atol=2e-6)
        np.testing.assert_allclose(doubled[d, 0].numpy() / 2, cell, rtol=0, atol=2e-6)
