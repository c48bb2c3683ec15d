"""What the user has left open is decided here: sizes from the text, tokens from the time."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import torch

from lowtide.embeddings.device import pick_device
from lowtide.embeddings.loading import open_word2vec
from lowtide.errors import DivergenceError, InputError, TrainingError, require
from lowtide.files import folder_size
from lowtide.model import Dropouts
from lowtide.model.adaptive_softmax import cheapest_cutoffs
from lowtide.text.vocabulary import Vocabulary
from lowtide.training import presets
from lowtide.training.budget import Budget
from lowtide.training.continuing import StartConfig
from lowtide.training.forecast import PROBE_SECONDS, Forecast, Probe, make_forecast, probe
from lowtide.training.ranks import ALONE, Ranks
from lowtide.training.reading import TextOptions
from lowtide.training.regularisation import dropouts_for
from lowtide.training.settings import (
    Objective,
    Settings,
    SoftmaxName,
    TrainableTrunk,
    TrainingDtype,
    versions,
)
from lowtide.training.trainer import Trainer
from lowtide.training.training_text import TrainingText

ROW_TOKENS = 64
NUM_CLUSTERS = 3
"""Of an adaptive softmax."""
LARGE_FROM = 4
"""A vocabulary is too large for a full softmax from so many times the samples of a sampled one."""

VALIDATION_SHARE = 0.1
"""Of a given time, what may go into looking at the held-out text."""
FEWEST_VALIDATIONS = 5
_NOTHING_TO_TIE = "there is nothing to tie the softmax to: give inputs='words' as well"


@dataclass(frozen=True)
class TrainOptions:
    """What a user may decide about the training."""

    preset: str = "auto"
    budget: Budget = field(default_factory=Budget)
    device: str = "auto"
    threads: int | None = None
    seed: int = 0
    learning_rate: float | None = None
    objective: Objective = "lm"
    tied: bool | None = None
    """Whether input and output share their vectors; None: where words are looked up."""
    trunk: TrainableTrunk | None = None
    """None: ``elmo``, or that of the model that the training begins with."""
    tensorboard: bool = False
    """Whether what the log says goes to TensorBoard, too."""
    dropouts: Dropouts | None = None
    """None: by the passes over the text."""
    softmax: SoftmaxName | None = None
    """None: what suits the vocabulary, or the model that the training begins with: `_suited_softmax`."""
    dtype: TrainingDtype = "float32"
    """Of the operands of products."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InputError: if one is out of range.
        """
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise InputError(f"the learning rate is {self.learning_rate}, expected more than 0, such as 0.004")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"the seed is {self.seed}, expected 0 to {2**32 - 1}")
        if self.objective not in get_args(Objective):
            raise InputError(f"unknown objective {self.objective!r}, expected {' or '.join(get_args(Objective))}")
        if self.dtype not in get_args(TrainingDtype):
            raise InputError(f"unknown dtype {self.dtype!r}, expected {' or '.join(get_args(TrainingDtype))}")
        if self.softmax is not None and self.softmax not in get_args(SoftmaxName):
            raise InputError(f"unknown softmax {self.softmax!r}, expected {', '.join(get_args(SoftmaxName))}")
        if self.trunk is not None and self.trunk not in get_args(TrainableTrunk):
            raise InputError(f"unknown trunk {self.trunk!r}, expected {' or '.join(get_args(TrainableTrunk))}")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"found {self.threads} threads, expected at least 1")


def refuse_together(text_options: TextOptions, options: TrainOptions) -> None:
    """Refuse what does not go together, before a text is read that takes hours.

    Raises:
        InputError: if two options exclude each other, or the preset or the device is not there.
        MissingExtraError: if TensorBoard is wanted and not installed.
    """
    if text_options.from_model is not None and (options.preset != "auto" or options.trunk is not None):
        raise InputError("the sizes are those of the model that the training begins with: leave preset and trunk open")
    if options.preset != "auto":
        presets.preset_named(options.preset)
    if options.tied and text_options.inputs == "characters":
        raise InputError(_NOTHING_TO_TIE)
    pick_device(options.device)
    _refuse_cloze(options.objective, documents=text_options.documents)
    if options.tensorboard:
        require("tensorboard", extra="tensorboard")


def refuse_other_width(text_options: TextOptions, options: TrainOptions) -> None:
    """Refuse vectors that no network can begin with, before a text is read that takes hours.

    Raises:
        InputError: if their width is not that of the preset; of ``auto``, that of none.
    """
    if text_options.vectors is None:
        return
    width = open_word2vec(text_options.vectors).width
    names = presets.PRESETS if options.preset == "auto" else [options.preset]
    widths = {
        presets.bilm_config(presets.preset_named(name), options.trunk or "elmo", num_symbols=1).lstm.width: name
        for name in names
    }
    if width not in widths:
        expected = ", ".join(f"{wanted} ({name})" for wanted, name in widths.items())
        raise InputError(f"{text_options.vectors} has vectors of width {width}, expected {expected}: train it anew so")


def _refuse_cloze(objective: Objective, *, documents: bool) -> None:
    if objective == "lm+cloze" and documents:
        raise InputError("the cloze objective reads sentences: leave documents out, or the objective at lm")


def plan(text: TrainingText, options: TrainOptions, work: Path, ranks: Ranks = ALONE) -> tuple[Settings, Forecast]:
    """Settle everything before the first step, and say what it will cost.

    ``auto`` takes the largest preset that the corpus is large enough for; with a time, the largest
    of these that reads all of the text at least once in it.

    Args:
        text: ready to train on.
        options: what is decided already.
        work: a folder that exists.
        ranks: the processes that will train together, and measure together.
    """
    names = [options.preset]
    if text.start is not None:
        names = [presets.nearest_preset(text.start.config.bilm.lstm.cell_width)]
    elif options.preset == "auto":
        names = presets.suited_presets(text.num_train_tokens)
    seconds = options.budget.seconds
    for name in names:
        settings = ranks.agree(dataclasses.replace(settle(text, options, name), num_processes=ranks.size))
        trainer = Trainer(settings, text, work=work, log_path=work / "probe.jsonl", ranks=ranks)
        with settings.threads():
            measured = _probed(trainer, PROBE_SECONDS if seconds is None else min(PROBE_SECONDS, seconds / 10))
        measured = ranks.agree(measured)
        if seconds is not None:
            settings = _with_dropouts(_within(settings, measured, seconds), text, options)
        if settings.epochs >= 1 or seconds is None:
            break
    told = make_forecast(settings, trainer, measured, corpus_bytes=folder_size(text.prepared.folder))
    return settings, told


def _probed(trainer: Trainer, seconds: float) -> Probe:
    """Some steps for the forecast.

    Raises:
        TrainingError: if they diverge: nothing is there yet that could be gone on with.
    """
    try:
        return probe(trainer, seconds=seconds)
    except DivergenceError:
        rate, usual = trainer.settings.learning_rate, presets.preset_named(trainer.settings.preset).learning_rate
        raise TrainingError(
            f"the first steps diverge at the learning rate {rate:g}: begin again with a lower one, such as "
            f"{min(usual, rate / 2):g}"
        ) from None


def settle(text: TrainingText, options: TrainOptions, preset_name: str) -> Settings:
    """The settings of a preset on a text; the budget from tokens or passes, not from the time."""
    preset = presets.preset_named(preset_name)
    budget = options.budget.num_tokens
    if budget is None:
        budget = max(1, round((options.budget.epochs or presets.DEFAULT_EPOCHS) * text.num_train_tokens))
    start = None if text.start is None else text.start.config
    trunk = options.trunk or "elmo"
    bilm = presets.bilm_config(preset, num_symbols=text.num_symbols, dropout=0.0, trunk=trunk)
    if start is not None:
        bilm, trunk = start.bilm, start.trunk
    rate = preset.learning_rate * (1.0 if start is None else presets.CONTINUED_RATE)
    can_tie = bilm.symbols is not None and bilm.lstm.width == bilm.lstm.state_width
    if options.tied and not can_tie:
        raise InputError(_NOTHING_TO_TIE)
    if options.tied and start is not None and not start.is_tied:
        raise InputError(f"{start.name} predicts with other vectors than it looks up: leave tied open")
    _refuse_cloze(options.objective, documents=text.documents)
    is_tied = options.tied
    if is_tied is None:
        is_tied = can_tie and (text.has_words if start is None else start.is_tied)
    softmax = options.softmax or _suited_softmax(len(text.vocabulary), preset.num_samples, start, is_tied=is_tied)
    num_samples, cutoffs = _output_layer(softmax, preset.num_samples, text.vocabulary)
    settings = Settings(
        preset=preset_name,
        bilm=bilm,
        budget_tokens=budget,
        rows=preset.rows,
        row_tokens=ROW_TOKENS,
        num_samples=num_samples,
        cutoffs=cutoffs,
        learning_rate=rate if options.learning_rate is None else options.learning_rate,
        seed=options.seed,
        min_count=text.min_count,
        vocabulary_size=len(text.vocabulary),
        num_train_tokens=text.num_train_tokens,
        num_threads=options.threads or min(torch.get_num_threads(), preset.max_threads or torch.get_num_threads()),
        versions=versions(),
        device=str(pick_device(options.device)),
        trunk=trunk,
        begun_with=None if start is None else f"{start.name}, checksum {start.checksum[:16]}",
        documents=text.documents,
        said_of_text=text.said,
        objective=options.objective,
        dtype=options.dtype,
        is_tied=is_tied,
    )
    return _with_dropouts(settings, text, options)


def _suited_softmax(num_types: int, num_samples: int, start: StartConfig | None, *, is_tied: bool) -> SoftmaxName:
    """What is quickest where nothing is asked for; a model that a training begins with keeps its own.

    An adaptive softmax reads more tokens a second than a sampled one, and learns as much from each. But it touches the
    vectors of all types in every step, which is lost only where they are touched anyway: where they are tied. That was
    measured on a processor; on a GPU, where it was not, the rule is the same, and only logits are made in blocks.
    """
    if start is not None and start.is_adaptive:
        return "adaptive"
    if num_types < LARGE_FROM * num_samples:
        return "full"
    return "adaptive" if is_tied and start is None else "sampled"


def _output_layer(name: SoftmaxName, num_samples: int, vocabulary: Vocabulary) -> tuple[int | None, tuple[int, ...]]:
    """The samples of a sampled softmax, the cutoffs of an adaptive one."""
    if name == "sampled":
        return min(num_samples, len(vocabulary) // 2), ()
    return None, (cheapest_cutoffs(vocabulary.counts, NUM_CLUSTERS) if name == "adaptive" else ())


def _with_dropouts(settings: Settings, text: TrainingText, options: TrainOptions) -> Settings:
    """What the user wants left out; else what suits the passes."""
    if options.dropouts is not None:
        return settings.with_dropouts(options.dropouts)
    has_words = text.has_words and settings.is_tied
    suited = dropouts_for(settings.epochs, num_tokens=settings.num_train_tokens, has_words=has_words)
    return settings.with_dropouts(suited)


def _within(settings: Settings, measured: Probe, seconds: float) -> Settings:
    """As many tokens as fit the time, with looks at the held-out text that take at most a tenth of it."""
    looks = VALIDATION_SHARE * seconds / max(measured.validation_seconds, 1e-9)
    num_validations = int(min(settings.num_validations, max(FEWEST_VALIDATIONS, looks)))
    left = seconds - measured.validation_seconds * (num_validations + 2)
    budget = max(1, int(measured.tokens_per_second * max(left, seconds / 2)))
    return dataclasses.replace(settings, budget_tokens=budget, num_validations=num_validations)
