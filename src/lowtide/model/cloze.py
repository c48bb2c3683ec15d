"""The auxiliary objective: what stands here, told by what stands on both sides of it.

The forward state before a token and the backward state after it are put together, and the softmax of the two language
models predicts the token from that. It is what "meaning in this place" is: context2vec (Melamud et al. 2016,
https://aclanthology.org/K16-1006), Baevski et al. (2019), https://arxiv.org/abs/1903.07785. Only training knows of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ClozeHead(nn.Module):
    """A h + B h', of the forward state before a place and the backward state behind it.

    Args:
        width: of a state of one direction.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.forward_weight = nn.Parameter(torch.eye(width) / 2)
        self.backward_weight = nn.Parameter(torch.eye(width) / 2)

    def forward(self, before: Tensor, behind: Tensor) -> Tensor:
        """Two (places, width) to one."""
        return before @ self.forward_weight.t() + behind @ self.backward_weight.t()
