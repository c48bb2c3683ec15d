"""The loop that fits a head: any task, any embedding, any way of entering."""

from __future__ import annotations

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from lowtide.errors import TrainingError
from lowtide.model import LayerMix
from lowtide.progress import progress
from lowtide.tasks.options import FitOptions
from lowtide.training.optimisation import clip_gradients

log = logging.getLogger("lowtide")

SCALARS_FASTER = 10.0
"""The learning rate of s, in that of the head: there are few of these scalars, and each step of Adam moves every number
by about the rate, whatever its gradient. Gamma, which scales all that enters, learns with the head."""
FINAL_RATE = 0.1
LOOKS_PER_EPOCH = 10
"""How often the alphas are written down."""
_BATCHES_SORTED = 50
"""So many batches of sentences are sorted by length together."""


@dataclass(frozen=True)
class MixState:
    """The scalars of a mix at some moment."""

    gamma: float
    weights: list[float]
    """The alphas, softmax(s): one a layer, layer 0 first, their sum is 1."""

    @classmethod
    def of(cls, mix: LayerMix) -> MixState:
        """As they are now."""
        return cls(float(mix.gamma.detach()), mix.weights.detach().tolist())


@dataclass
class History:
    """How a fit went; what the log holds."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    """In the order of time: ``epoch`` (of passes, with its fraction), ``loss``, the mixes, and after an epoch
    ``valid``."""
    best_epoch: int = 0
    best_score: float | None = None
    num_epochs: int = 0
    seconds: float = 0.0

    def alphas(self) -> dict[str, list[tuple[float, float]]]:
        """(epoch, weight) of every layer over time, by the name of its mix and its number."""
        lines: dict[str, list[tuple[float, float]]] = {}
        for entry in self.entries:
            for name, mix in entry.get("mixes", {}).items():
                for layer, weight in enumerate(mix["weights"]):
                    lines.setdefault(f"{name} {layer}", []).append((entry["epoch"], weight))
        return lines


class Problem(ABC):
    """What is fitted: a network, and examples by number."""

    network: nn.Module

    @property
    @abstractmethod
    def lengths(self) -> Sequence[int]:
        """Of every example, in tokens: examples of like length are learned together."""

    @abstractmethod
    def loss(self, numbers: Sequence[int]) -> Tensor:
        """The mean over these examples, the penalty of the mixes added."""

    @abstractmethod
    def measure(self) -> float | None:
        """The score on the validation examples, the higher the better; None without any."""

    @abstractmethod
    def mixes(self) -> dict[str, LayerMix]:
        """The scalars that are learned."""

    @abstractmethod
    def groups(self, options: FitOptions) -> list[dict[str, Any]]:
        """What else is learned, for the optimiser: ``params`` and ``lr``."""

    @abstractmethod
    def begin_epoch(self, epoch: int) -> None:
        """Called before every epoch, from 0 on."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """All that PyTorch draws inside is a function of the seed; outside, nothing is changed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def batches(lengths: Sequence[int], size: int, seed: Sequence[int]) -> list[list[int]]:
    """All examples once, in batches of like length; a function of the seed."""
    generator = np.random.default_rng(list(seed))
    order = generator.permutation(len(lengths))
    found = []
    for start in range(0, len(order), size * _BATCHES_SORTED):
        near = sorted(order[start : start + size * _BATCHES_SORTED].tolist(), key=lambda number: lengths[number])
        found += [near[first : first + size] for first in range(0, len(near), size)]
    return [found[place] for place in generator.permutation(len(found))]


def fit(problem: Problem, options: FitOptions) -> History:
    """Fit a network; in the end it is as it was when it scored best.

    Raises:
        TrainingError: if the loss is no number any more.
    """
    started = time.monotonic()
    optimizer = _optimizer(problem, options)
    history = History()
    best: dict[str, Tensor] | None = None
    num_batches = math.ceil(len(problem.lengths) / options.batch_size)
    with progress("learning", total=options.epochs * len(problem.lengths), unit="examples") as bar:
        for epoch in range(options.epochs):
            problem.begin_epoch(epoch)
            problem.network.train()
            losses: list[float] = []
            for number, batch in enumerate(batches(problem.lengths, options.batch_size, (options.seed, epoch))):
                _set_rate(optimizer, (epoch + number / num_batches) / options.epochs)
                losses.append(_step(problem, optimizer, batch, options))
                bar.advance(len(batch), note=f"loss {losses[-1]:.3f}  {_shown(problem.mixes())}")
                if (number + 1) * LOOKS_PER_EPOCH // num_batches > number * LOOKS_PER_EPOCH // num_batches:
                    _look(history, problem, epoch + (number + 1) / num_batches, losses)
            score = _measured(problem)
            history.num_epochs = epoch + 1
            history.entries[-1].update(valid=score, seconds=round(time.monotonic() - started, 1))
            if score is not None:
                log.info(
                    "epoch %s  loss %.3f  valid %.4f  %s",
                    str(epoch + 1),
                    sum(losses) / len(losses),
                    score,
                    _shown(problem.mixes()),
                )
            if score is None or history.best_score is None or score > history.best_score:
                history.best_score, history.best_epoch = score, epoch + 1
                if score is not None:
                    best = {name: tensor.detach().clone() for name, tensor in problem.network.state_dict().items()}
            if epoch + 1 - history.best_epoch >= options.patience:
                break
    if best is not None:
        problem.network.load_state_dict(best)
    problem.network.eval()
    history.seconds = time.monotonic() - started
    return history


def _optimizer(problem: Problem, options: FitOptions) -> Adam:
    scalars = [mix.layer_scalars for mix in problem.mixes().values()]
    groups = problem.groups(options)
    if scalars:
        groups.append({"params": scalars, "lr": SCALARS_FASTER * options.learning_rate})
    optimizer = Adam(groups, fused=True)  # one pass over the numbers, not ten
    for group in optimizer.param_groups:
        group["highest"] = group["lr"]
    return optimizer


def _set_rate(optimizer: Adam, done: float) -> None:
    """Every rate falls linearly: ``done`` is the share of the fit that lies behind."""
    for group in optimizer.param_groups:
        group["lr"] = group["highest"] * (1 - (1 - FINAL_RATE) * done)


def _step(problem: Problem, optimizer: Adam, batch: Sequence[int], options: FitOptions) -> float:
    loss = problem.loss(batch)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = clip_gradients(parameters, options.max_gradient_norm)
    value = float(loss.detach())
    if not (math.isfinite(value) and math.isfinite(norm)):
        raise TrainingError(
            f"the loss became {value}: the learning rate is probably too high, try {options.learning_rate / 2:g}"
        )
    optimizer.step()
    return value


def _look(history: History, problem: Problem, epoch: float, losses: Sequence[float]) -> None:
    """Write down where the loss and the mixes are."""
    states = {name: MixState.of(mix) for name, mix in problem.mixes().items()}
    history.entries.append(
        {
            "epoch": round(epoch, 3),
            "loss": round(sum(losses) / len(losses), 5),
            "mixes": {
                name: {"gamma": round(state.gamma, 4), "weights": [round(weight, 4) for weight in state.weights]}
                for name, state in states.items()
            },
        }
    )


def _measured(problem: Problem) -> float | None:
    problem.network.eval()
    return problem.measure()


def _shown(mixes: dict[str, LayerMix]) -> str:
    """``α 0.21 0.47 0.32 γ 1.10``, one after the other."""
    states = [MixState.of(mix) for mix in mixes.values()]
    return "  ".join(f"α {' '.join(f'{w:.2f}' for w in state.weights)} γ {state.gamma:.2f}" for state in states)
