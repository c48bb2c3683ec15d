"""The loop that fits a head: any task, any embedding, any way of entering."""

from __future__ import annotations

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from lowtide.errors import TrainingError, is_out_of_memory
from lowtide.model import LayerMix
from lowtide.progress import Progress, progress
from lowtide.tasks.fit_checkpoint import FitCheckpoint, copied
from lowtide.tasks.history import History, MixState
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


def fit(problem: Problem, options: FitOptions, checkpoint: Path | None = None) -> History:
    """Fit a network; in the end it is as it was when it scored best.

    Args:
        problem: what is fitted.
        options: how.
        checkpoint: a file to lay the fit down in after every epoch. If it is there, the fit goes on from it, and ends,
            on the same processor, with the very numbers of one that was never stopped.

    Raises:
        InputError: if the checkpoint is that of a fit with other options.
        ModelError: if it is damaged, or that of another task.
        TrainingError: if the loss is no number any more, or memory does not suffice.
    """
    optimizer = _optimizer(problem, options)
    history, best = History(), None
    laid_down = None if checkpoint is None else FitCheckpoint(checkpoint, options, problem.network, optimizer)
    if laid_down is not None and checkpoint is not None and checkpoint.exists():
        history, best = laid_down.restore()
        log.info("going on after epoch %s", str(history.num_epochs))
    started = time.monotonic() - history.seconds
    with progress("learning", total=options.epochs * len(problem.lengths), unit="examples") as bar:
        bar.advance(history.num_epochs * len(problem.lengths))  # what an earlier run has learned
        while not _is_over(history, options):
            losses = _learn_epoch(problem, optimizer, options, history, bar)
            score = _measured(problem)
            is_best = history.end_epoch(score, time.monotonic() - started)
            history.entries[-1].update(valid=score, seconds=round(history.seconds, 1))
            if is_best:
                best = None if score is None else copied(problem.network)
            _tell(history, problem, losses, score)
            if laid_down is not None:
                laid_down.save(history, best)
    if best is not None:
        problem.network.load_state_dict(best)
    if history.best_score == 0:
        log.warning(
            "the score on the validation examples is 0 after %s epochs, and the last state is kept: let it learn for "
            "more of them (--epochs), or from more examples",
            str(history.num_epochs),
        )
    problem.network.eval()
    history.seconds = time.monotonic() - started
    return history


def _is_over(history: History, options: FitOptions) -> bool:
    return history.num_epochs == options.epochs or history.num_epochs - history.best_epoch >= options.patience


def _learn_epoch(
    problem: Problem, optimizer: Adam, options: FitOptions, history: History, bar: Progress
) -> list[float]:
    """Go once through all examples; returns the loss of every batch."""
    epoch, size = history.num_epochs, options.batch_size_of(len(problem.lengths))
    num_batches = math.ceil(len(problem.lengths) / size)
    problem.begin_epoch(epoch)
    problem.network.train()
    losses: list[float] = []
    for number, batch in enumerate(batches(problem.lengths, size, (options.seed, epoch))):
        _set_rate(optimizer, (epoch + number / num_batches) / options.epochs)
        try:
            losses.append(_step(problem, optimizer, batch, options))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(
                f"out of memory at {len(batch):,} examples, the longest of {max(problem.lengths[n] for n in batch):,} "
                "tokens: take a smaller --batch-size, or cut long texts"
            ) from None
        bar.advance(len(batch), note=f"loss {losses[-1]:.3f}  {_shown(problem.mixes())}")
        if (number + 1) * LOOKS_PER_EPOCH // num_batches > number * LOOKS_PER_EPOCH // num_batches:
            _look(history, problem, epoch + (number + 1) / num_batches, losses)
    return losses


def _tell(history: History, problem: Problem, losses: Sequence[float], score: float | None) -> None:
    epoch, loss, mixes = str(history.num_epochs), sum(losses) / len(losses), _shown(problem.mixes())
    if score is None:
        log.info("epoch %s  loss %.3f  %s", epoch, loss, mixes)
    else:
        log.info("epoch %s  loss %.3f  valid %.4f  %s", epoch, loss, score, mixes)


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
