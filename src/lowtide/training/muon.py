"""Muon, for matrices that are several in one.

Its step is the nearest orthogonal matrix to the mean of the gradients: all directions of a matrix learn equally much.
Jordan et al. (2024), https://kellerjordan.github.io/posts/muon/. That holds for one matrix; the four gates of an LSTM
are four, which lie one below the other in one parameter.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from torch.optim import Muon


class BlockMuon(Muon):
    """PyTorch's Muon over blocks of rows, each a matrix of its own.

    A step is as large as one of AdamW, so that one learning rate serves both: Liu et al. (2025), section 2.2,
    https://arxiv.org/abs/2502.16982.

    Args:
        num_blocks: how many matrices of equal height each parameter holds. They are changed where they lie: a parameter
            is on its device before it is handed in, and stays there.
        lr: the learning rate.
        weight_decay: times the rate: the share that goes in a step.
    """

    def __init__(self, num_blocks: Mapping[nn.Parameter, int], *, lr: float, weight_decay: float) -> None:
        self._blocks = {parameter: parameter.detach().chunk(number) for parameter, number in num_blocks.items()}
        every = [block for blocks in self._blocks.values() for block in blocks]
        super().__init__(every, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    def step(self, closure: None = None) -> None:  # type: ignore[override]  # nobody here has one
        """Change the parameters by their gradients."""
        for parameter, blocks in self._blocks.items():
            assert parameter.data_ptr() == blocks[0].data_ptr(), "the parameter lies elsewhere by now"
            if parameter.grad is not None:
                for block, gradient in zip(blocks, parameter.grad.chunk(len(blocks)), strict=True):
                    block.grad = gradient
        super().step()  # type: ignore[no-untyped-call]  # torch does not type it

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        super().zero_grad(set_to_none)
        for parameter in self._blocks:
            parameter.grad = None
