"""A fit laid down after an epoch, to go on from exactly there.

What an epoch does follows from the examples, the options and its number, and from four things that are kept here: the
network, the memory of the optimiser, PyTorch's random numbers, and which state was the best so far.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lowtide.config import require_same, to_json
from lowtide.errors import ModelError
from lowtide.tasks.history import History
from lowtide.tasks.options import FitOptions
from lowtide.training.checkpoint import load_checkpoint, parts_of, save_checkpoint
from lowtide.training.optimisation import optimizer_tensors, restore_optimizers

State = dict[str, Tensor]
"""All of a network, by name."""


@dataclass(frozen=True)
class FitPosition:
    """How far a fit had come."""

    options: FitOptions
    history: History


class FitCheckpoint:
    """The file in which a fit is laid down.

    Args:
        path: the file.
        options: of the fit.
        network: that learns.
        optimizer: its only one.
    """

    def __init__(self, path: Path, options: FitOptions, network: nn.Module, optimizer: Optimizer) -> None:
        self._path, self._options = path, options
        self._network, self._optimizer = network, optimizer

    def save(self, history: History, best: State | None) -> None:
        """Lay down what is now; the last one stays until this one is whole.

        Args:
            history: up to the end of an epoch.
            best: the state with the best score; None if there is no score.
        """
        parts = {
            "network": self._network.state_dict(),
            "optimizer": optimizer_tensors([self._optimizer]),
            "random": self._random(),
        }
        if best is not None and history.best_epoch < history.num_epochs:  # else the network is in it
            parts["best"] = best
        tensors = {f"{part}.{name}": tensor for part, named in parts.items() for name, tensor in named.items()}
        save_checkpoint(self._path, FitPosition(self._options, history), tensors)

    def restore(self) -> tuple[History, State | None]:
        """Put everything back as it was.

        Returns:
            What `save` was given.

        Raises:
            InputError: if the fit was begun with other options.
            ModelError: if the file is damaged, or from the fit of another network.
        """
        position, tensors = load_checkpoint(self._path, FitPosition)
        require_same(to_json(position.options), to_json(self._options), where=self._path)
        parts = parts_of(tensors)
        try:
            self._network.load_state_dict(parts["network"])
            restore_optimizers([self._optimizer], parts["optimizer"])
            self._restore_random(parts["random"])
        except (RuntimeError, ValueError, KeyError):
            raise ModelError(
                f"{self._path} does not fit this task: was it written by the fit of another one?"
            ) from None
        history, best = position.history, parts.get("best")
        if best is None and history.best_score is not None:
            best = copied(self._network)
        return history, best

    @property
    def _device(self) -> torch.device:
        return next(self._network.parameters()).device

    def _random(self) -> dict[str, Tensor]:
        """Where PyTorch's random numbers are, those of the processor and those of the GPU that computes."""
        states = {"cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self._device)
        return states

    def _restore_random(self, states: dict[str, Tensor]) -> None:
        torch.set_rng_state(states["cpu"])
        if self._device.type == "cuda" and "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], self._device)


def copied(network: nn.Module) -> State:
    """The state of a network as it is now, whatever becomes of the network."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
