"""Matrix products of a training whose operands may be rounded to 16 bits; what comes out is added up in 32.

The second operand decides: where it has the dtype of the first, these are PyTorch's own products, to the last bit;
where it is rounded, the first is rounded to the same dtype for the product. Weights, states and sums stay float32, so
that nothing is lost that is small beside what it is added to: Micikevicius et al. (2018),
https://arxiv.org/abs/1710.03740.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def rounded(values: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Values in the dtype of products; None: as they are."""
    return values if dtype is None else values.to(dtype)


def mm(first: Tensor, second: Tensor, *, out: Tensor | None = None) -> Tensor:
    """(n, k) times (k, m), in the dtype of the first.

    Args:
        first: (n, k).
        second: (k, m), rounded or not.
        out: (n, m), of the dtype of the first; None: fresh memory.
    """
    if second.dtype == first.dtype:
        return torch.mm(first, second, out=out)
    product = torch.mm(first.to(second.dtype), second)
    return product.to(first.dtype) if out is None else out.copy_(product)


def addmm(plus: Tensor, first: Tensor, second: Tensor, *, out: Tensor) -> Tensor:
    """A product, and what is added to every row of it: into ``out``, (n, m), which may be ``plus`` itself.

    Args:
        plus: (m,) or (n, m).
        first: (n, k).
        second: (k, m), rounded or not.
        out: of the dtype of the first, or of that of ``plus``.
    """
    if second.dtype == first.dtype == out.dtype:
        return torch.addmm(plus, first, second, out=out)
    return torch.add(plus, torch.mm(first.to(second.dtype), second), out=out)


def linear(inputs: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype | None) -> Tensor:
    """X W^T + b, with gradients, both ways in products of a dtype; None: that of the numbers."""
    if dtype is None:
        return functional.linear(inputs, weight, bias)
    return functional.linear(inputs.to(dtype), weight.to(dtype)).to(inputs.dtype) + bias
