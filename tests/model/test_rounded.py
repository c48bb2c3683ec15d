from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lowtide.model.rounded import addmm, linear, mm, rounded

EPSILON = 2.0**-8
"""Of bfloat16: half a unit in the last place, relative."""


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference(first: Tensor, second: Tensor) -> np.ndarray:
    """In float64, of operands that are rounded first."""
    product: np.ndarray = first.bfloat16().double().numpy() @ second.bfloat16().double().numpy()
    return product


def test_what_is_not_rounded_is_multiplied_as_ever_to_the_last_bit() -> None:
    first, second, plus = draw(5, 7), draw(7, 3, seed=1), draw(3, seed=2)
    assert torch.equal(mm(first, second), torch.mm(first, second))
    assert torch.equal(addmm(plus, first, second, out=torch.empty(5, 3)), torch.addmm(plus, first, second))
    assert torch.equal(linear(first, second.t(), plus, None), functional.linear(first, second.t(), plus))
    assert rounded(first, None) is first


@pytest.mark.parametrize("has_out", [False, True])
def test_a_product_of_rounded_operands_is_one_of_what_they_are_rounded_to(has_out: bool) -> None:
    first, second = draw(40, 60), draw(60, 30, seed=1)
    out = torch.empty(40, 30) if has_out else None
    found = mm(first, rounded(second, torch.bfloat16), out=out)
    assert found.dtype == torch.float32 and (out is None or found is out)
    expected = reference(first, second)
    assert np.abs(found.numpy() - expected).max() < EPSILON * np.abs(expected).max()
    assert not torch.equal(found, torch.mm(first, second))


def test_what_is_added_is_not_rounded() -> None:
    first, second, plus = draw(40, 60), draw(60, 30, seed=1), 1000 + draw(40, 30, seed=2)
    sums = plus.clone()
    addmm(sums, first, rounded(second, torch.bfloat16), out=sums)
    expected = reference(first, second)
    assert np.abs(sums.double().numpy() - plus.double().numpy() - expected).max() < EPSILON * np.abs(expected).max()


def test_gradients_of_a_rounded_layer_are_near_those_of_the_layer() -> None:
    def gradients(dtype: torch.dtype | None) -> tuple[Tensor, ...]:
        inputs, weight, bias = (tensor.requires_grad_() for tensor in (draw(40, 60), draw(30, 60, seed=1), draw(30)))
        return torch.autograd.grad((linear(inputs, weight, bias, dtype) ** 2).sum(), [inputs, weight, bias])

    for near, exact in zip(gradients(torch.bfloat16), gradients(None), strict=True):
        assert near.dtype == torch.float32 and 0 < (near - exact).norm() < 4 * EPSILON * exact.norm()
