from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon

from lowtide.training.muon import BlockMuon

RATE = 0.1


def four_in_one(*, seed: int = 0) -> tuple[nn.Parameter, Tensor]:
    """A parameter of four matrices, and a gradient; one of them learns a thousand times as much as the others."""
    generator = torch.Generator().manual_seed(seed)
    values, gradient = (torch.randn(4 * 12, 8, generator=generator) for _ in range(2))
    gradient[:12] *= 1000
    return nn.Parameter(values), gradient


def test_four_matrices_in_one_learn_as_four_by_themselves() -> None:
    parameter, _ = four_in_one()
    alone = [nn.Parameter(block.clone()) for block in parameter.detach().chunk(4)]
    ours = BlockMuon({parameter: 4}, lr=RATE, weight_decay=0.01)
    theirs = Muon(alone, lr=RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    for seed in range(3):
        _, parameter.grad = four_in_one(seed=seed)
        for block, gradient in zip(alone, parameter.grad.clone().chunk(4), strict=True):
            block.grad = gradient
        ours.step()
        ours.zero_grad()
        theirs.step()
        assert [p for p in (parameter,) if p.grad is not None] == []
        assert torch.equal(parameter, torch.cat(tuple(alone)))


def test_every_gate_moves_in_all_its_directions_however_large_its_gradient_is() -> None:
    parameter, gradient = four_in_one()
    before, parameter.grad = parameter.detach().clone(), gradient
    BlockMuon({parameter: 4}, lr=RATE, weight_decay=0.0).step()
    for moved in (parameter.detach() - before).chunk(4):
        sizes = torch.linalg.svdvals(moved) / (0.2 * RATE * 12**0.5)
        assert sizes.min() > 0.5 and sizes.max() < 1.5  # as near to orthogonal as five iterations come


def test_a_step_is_as_large_as_one_of_adamw() -> None:
    rows, width = 64, 64
    found = []
    for make in (
        lambda p: AdamW([p], lr=RATE, weight_decay=0.0),
        lambda p: BlockMuon({p: 1}, lr=RATE, weight_decay=0.0),
    ):
        parameter = nn.Parameter(torch.zeros(rows, width))
        optimizer = make(parameter)
        generator = torch.Generator().manual_seed(0)
        for _ in range(30):
            before = parameter.detach().clone()
            parameter.grad = torch.randn(rows, width, generator=generator)
            optimizer.step()
        found.append(float((parameter.detach() - before).square().mean().sqrt()))
    assert found[1] == pytest.approx(found[0], rel=0.5)


def test_a_parameter_that_was_moved_is_noticed() -> None:
    parameter, gradient = four_in_one()
    optimizer = BlockMuon({parameter: 4}, lr=RATE, weight_decay=0.0)
    parameter.data, parameter.grad = parameter.data.clone(), gradient
    with pytest.raises(AssertionError, match="lies elsewhere"):
        optimizer.step()
