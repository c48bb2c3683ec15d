"""The mean of the weights over the last steps.

A step goes past the place where the loss is low as often as not; the mean of many steps lies nearer to it: Polyak &
Juditsky (1992); for language models Merity et al. (2018), https://arxiv.org/abs/1708.02182.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


class TailAverage:
    """The mean of some states of the weights.

    It takes its memory at once: where there is none, a training shall end before it begins.

    Args:
        parameters: by name; they are read where they lie, and change under it.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self._parameters = parameters
        self._means = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        self.count = 0
        """States that it is the mean of."""

    @torch.no_grad()
    def add(self) -> None:
        """Take the state as it is now into the mean."""
        self.count += 1
        for name, parameter in self._parameters.items():
            self._means[name].lerp_(parameter, 1 / self.count)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The mean in the place of the weights, for as long as it is looked at."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, mean in self._means.items():
            parameter, now = self._parameters[name], mean.clone()
            mean.copy_(parameter)
            parameter.copy_(now)

    def tensors(self) -> dict[str, Tensor]:
        """The mean, for a checkpoint; nothing before there is one."""
        return dict(self._means) if self.count else {}

    def restore(self, tensors: Mapping[str, Tensor], count: int) -> None:
        """Go on with what `tensors` has laid down."""
        for name, tensor in tensors.items():
            self._means[name].copy_(tensor)
        self.count = count
