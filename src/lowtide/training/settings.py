"""All that decides how a training goes, written down before its first step."""

from __future__ import annotations

import dataclasses
import math
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from lowtide import __version__
from lowtide.errors import ConfigError
from lowtide.model import BiLMConfig, Dropouts

Objective = Literal["lm", "lm+cloze"]
TrainableTrunk = Literal["elmo", "lstm"]
TrainingDtype = Literal["float32", "bfloat16"]
SoftmaxName = Literal["full", "sampled", "adaptive"]


@dataclass(frozen=True)
class Settings:
    """A training is a function of these and of the text; the clock has no say in it."""

    preset: str
    bilm: BiLMConfig
    budget_tokens: int
    """Tokens to read, boundaries not counted. The schedule follows this number alone."""
    rows: int
    """Of a batch."""
    row_tokens: int
    """Positions of a row; a longer sentence is cut."""
    num_samples: int | None
    """Of the sampled softmax; None for another one."""
    learning_rate: float
    """The highest."""
    seed: int
    min_count: int
    vocabulary_size: int
    num_train_tokens: int
    """Of one pass over the text."""
    num_threads: int
    """Of every process."""
    versions: str
    """Of the libraries that decide how numbers are drawn and rounded."""
    device: str
    trunk: TrainableTrunk = "elmo"
    """``lstm``: plain states, one sentence a row; see `lowtide.training.presets.plain`."""
    said_of_text: dict[str, str] = field(default_factory=dict)
    """How the text was to be read, where that was not left open: ``lowercase``, ``weights``, ``vectors``, ..."""
    num_processes: int = 1
    """Among which the rows of a batch are divided."""
    begun_with: str | None = None
    """The model that it began with: its name and its checksum; None: at random."""
    dropouts: Dropouts | None = None
    """Where there is more to it than the one rate of ``bilm``, which is 0 then; None: that rate."""
    documents: bool = False
    """Whether the state is carried from sentence to sentence within a document."""
    objective: Objective = "lm"
    """``lm+cloze``: beside the two language models, see `lowtide.model.cloze`."""
    cutoffs: tuple[int, ...] = ()
    """Of the adaptive softmax, `lowtide.model.adaptive_softmax`; none for another one."""
    is_tied: bool = False
    """Whether the softmax predicts with the vectors that are looked up: Inan et al. (2017),
    https://arxiv.org/abs/1611.01462."""
    num_validations: int = 20
    """Looks at the held-out text, evenly over the budget; the best state is kept."""
    warmup: float = 0.02
    """Share of the budget in which the rate rises."""
    cooldown: float = 0.5
    """Share of the budget in which the rate falls, at the end."""
    final_rate: float = 0.05
    """What is left of the rate at the end."""
    averaged: float = 0.1
    """Share of the budget, at the end, of which the mean of the weights is tried as well: `lowtide.training.averaging`.
    0: none."""
    weight_decay: float = 0.01
    max_gradient_norm: float = 1.0
    dtype: TrainingDtype = "float32"
    """Of the operands of products; weights, states and sums are float32."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with.

        Raises:
            ConfigError: if a number is out of range.
        """
        for name in ("budget_tokens", "rows", "row_tokens", "num_threads", "num_validations"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.num_samples is not None and self.cutoffs:
            raise ConfigError("found num_samples and cutoffs, expected one softmax or the other")

    @property
    def dropouts_in_use(self) -> Dropouts:
        """What is left out while this training goes on."""
        return Dropouts.plain(self.bilm.dropout) if self.dropouts is None else self.dropouts

    def with_dropouts(self, dropouts: Dropouts) -> Settings:
        """The same with other dropouts; a plain rate is kept where it has always stood, with the sizes."""
        rate = dropouts.plain_rate
        bilm = dataclasses.replace(self.bilm, dropout=rate or 0.0)
        return dataclasses.replace(self, bilm=bilm, dropouts=dropouts if rate is None else None)

    @property
    def product_dtype(self) -> torch.dtype | None:
        """To which operands of products are rounded; None: to none."""
        return torch.bfloat16 if self.dtype == "bfloat16" else None

    @property
    def softmax(self) -> SoftmaxName:
        """Its name."""
        return "sampled" if self.num_samples is not None else "adaptive" if self.cutoffs else "full"

    @property
    def epochs(self) -> float:
        """Passes over the text."""
        return self.budget_tokens / self.num_train_tokens

    @property
    def averaged_from(self) -> float:
        """Tokens after which states go into the mean."""
        return (1 - self.averaged) * self.budget_tokens if self.averaged else math.inf

    def rate_at(self, tokens: int) -> float:
        """The learning rate after so many tokens: linear warm-up, constant, linear cooldown."""
        done = min(tokens / self.budget_tokens, 1.0)
        rising = (done + 1e-3) / (self.warmup + 1e-3)
        falling = self.final_rate + (1 - self.final_rate) * (1 - done) / self.cooldown
        return self.learning_rate * min(rising, 1.0, falling)

    @contextmanager
    def threads(self) -> Iterator[None]:
        """The number of threads that this training began with, for as long as it goes on."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.num_threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def warn_if_elsewhere(self, num_processes: int) -> None:
        """Warn if this is not where the training began: resuming is exact only on the same ground."""
        if self.num_processes != num_processes:
            warnings.warn(
                f"this training began in {self.num_processes} processes, here are {num_processes}: "
                "it goes on, but its numbers are rounded in other places, and its dropout is another draw",
                stacklevel=3,
            )
        warn_if_other_ground(self.versions, versions())


def warn_if_other_ground(began: str, here: str) -> None:
    """Warn if a training began with other `versions`, or other devices, than there are here: it is not exact then."""
    if began != here:
        warnings.warn(
            f"this training began with {began}, here is {here}: it goes on, but not bit for bit as it would have",
            stacklevel=4,
        )


def versions() -> str:
    """The libraries and the kind of processor: what draws and rounding depend on."""
    return f"lowtide {__version__}, torch {torch.__version__}, numpy {np.__version__}, {platform.machine()}"
