"""What a training will cost, measured before it starts."""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import dataclass

from lowtide.amounts import format_bytes, format_seconds
from lowtide.memory import FreeMemory, peak_memory
from lowtide.messages import say
from lowtide.model import Dropouts
from lowtide.training.settings import Settings
from lowtide.training.trainer import Trainer

PROBE_SECONDS = 3.0
_WARM_UP_STEPS = 2
_LEAST_STEPS = 3


@dataclass(frozen=True)
class Forecast:
    """Time, memory and disk of a training."""

    preset: str
    begun_with: str | None
    """The model whose sizes these are; None: they are the preset's."""
    num_parameters: int
    """Of the biLM."""
    num_softmax_parameters: int
    vocabulary_size: int
    num_train_tokens: int
    """Of one pass."""
    budget_tokens: int
    epochs: float
    dropouts: Dropouts
    tokens_per_second: float
    """As the probe ran, the looks at the held-out text not counted."""
    seconds: float
    memory_bytes: int | None
    """The peak of this process while the probe ran; None where the system does not tell."""
    disk_bytes: int
    """The model, and the checkpoints and the text in numbers while it trains."""

    def lines(self) -> list[str]:
        """For reading, in the language that was chosen."""
        return [
            say(
                "preset      {preset}: {bilm:.1f} M parameters, and {softmax:.1f} M in the softmax over {types:,} types"
                if self.begun_with is None
                else "begun with  {model}: {bilm:.1f} M parameters, and {softmax:.1f} M in the softmax over {types:,} "
                "types; steps as preset {preset}",
                preset=self.preset,
                model=self.begun_with,
                bilm=self.num_parameters / 1e6,
                softmax=self.num_softmax_parameters / 1e6,
                types=self.vocabulary_size,
            ),
            say(
                "text        {tokens:,} tokens a pass, {passes:,.2f} passes: {budget:,} tokens to read",
                tokens=self.num_train_tokens,
                passes=self.epochs,
                budget=self.budget_tokens,
            ),
            say("dropout     {dropouts}", dropouts=self.dropouts),
            say(
                "time        {time} at {rate:,.0f} tokens a second",
                time=format_seconds(self.seconds),
                rate=self.tokens_per_second,
            ),
            say(
                "memory      not known here" if self.memory_bytes is None else "memory      {memory}",
                memory=format_bytes(self.memory_bytes or 0),
            ),
            say("disk        {disk} while it trains", disk=format_bytes(self.disk_bytes)),
        ]


@dataclass(frozen=True)
class Probe:
    """What some real steps have shown."""

    tokens_per_second: float
    validation_seconds: float
    """Of one look at the held-out text."""
    memory_bytes: int | None


def probe(trainer: Trainer, *, seconds: float = PROBE_SECONDS) -> Probe:
    """Run real steps for some seconds. The trainer is spoilt by it: make a new one to train.

    The rate is the median over steps, so that a moment in which the machine was busy counts little.

    Args:
        trainer: at its beginning.
        seconds: to measure, after the first steps, which are slow.
    """
    batches = itertools.cycle(batch for _, batch in trainer.batches())
    for batch in itertools.islice(batches, _WARM_UP_STEPS):
        trainer.step(batch)
    started = time.monotonic()
    rates: list[float] = []
    free_memory = FreeMemory()
    # several processes have several clocks, and go on together
    while any(trainer.ranks.total(len(rates) < _LEAST_STEPS or time.monotonic() - started < seconds)):
        batch = next(batches)
        before = time.monotonic()
        trainer.step(batch)
        rates.append(batch.num_tokens / (time.monotonic() - before))
        free_memory.give_back()
    validations = []
    for _ in range(2 if trainer.has_valid else 0):
        before = time.monotonic()
        trainer.validate()
        validations.append(time.monotonic() - before)
    return Probe(statistics.median(rates), min(validations, default=0.0), peak_memory())


def make_forecast(settings: Settings, trainer: Trainer, measured: Probe, *, corpus_bytes: int) -> Forecast:
    """Put settings and probe together.

    Args:
        settings: with the token budget.
        trainer: for its sizes.
        measured: by `probe`.
        corpus_bytes: of the prepared text on disk.
    """
    num_parameters = sum(parameter.numel() for parameter in trainer.bilm.parameters())
    own = sum(p.numel() for p in trainer.softmax.parameters() if not (settings.is_tied and p is trainer.softmax.weight))
    num_softmax = own + (trainer.softmax.rows.numel() if settings.is_tied else 0)
    # the checkpoint holds weights, two moments and the mean, twice while it is replaced; beside it lies the best state
    disk = 4 * ((num_parameters + own) * 2 * 4 + num_parameters + num_softmax) + corpus_bytes
    return Forecast(
        preset=settings.preset,
        begun_with=settings.begun_with,
        num_parameters=num_parameters,
        num_softmax_parameters=num_softmax,
        vocabulary_size=settings.vocabulary_size,
        num_train_tokens=settings.num_train_tokens,
        budget_tokens=settings.budget_tokens,
        epochs=settings.epochs,
        dropouts=settings.dropouts_in_use,
        tokens_per_second=measured.tokens_per_second,
        seconds=settings.budget_tokens / measured.tokens_per_second
        + measured.validation_seconds * (settings.num_validations + 2),
        memory_bytes=measured.memory_bytes,
        disk_bytes=disk,
    )
