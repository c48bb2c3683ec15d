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

    Args:
        parameters: by name; they are read where they lie, and change under it.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self._parameters = parameters
        self._means: dict[str, Tensor] = {}
        self.count = 0
        """States that it is the mean of."""

    @torch.no_grad()
    def add(self) -> None:
        """Take the state as it is now into the mean."""
        self.count += 1
        for name, parameter in self._parameters.items():
            if name not in self._means:
                self._means[name] = parameter.detach().clone()
            else:
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
        """The mean, for a checkpoint."""
        return dict(self._means)

    def restore(self, tensors: Mapping[str, Tensor], count: int) -> None:
        """Go on with what `tensors` has laid down."""
        self._means = {name: tensor.to(self._parameters[name].device) for name, tensor in tensors.items()}
        self.count = count
