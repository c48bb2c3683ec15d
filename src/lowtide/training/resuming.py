"""What a training that goes on keeps, what it takes anew, and what it says where something else is asked for."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowtide.config import departures, from_json, to_json
from lowtide.embeddings.device import pick_device
from lowtide.errors import LowtideError
from lowtide.files import read_json, write_json
from lowtide.text.corpus import find_files
from lowtide.text.lines import STANDARD_INPUT
from lowtide.training.folder import has_begun, work_of
from lowtide.training.planning import TrainOptions
from lowtide.training.reading import TextOptions
from lowtide.training.settings import Settings
from lowtide.weights.native import CONFIG, read_config
from lowtide.weights.stored import ModelConfig

_ASKED = "asked.json"
_TAKEN_ANEW = ("learning_rate", "device", "tensorboard")
_MOST_SHOWN = 60
"""Letters of a value."""


def asked_for(texts: Sequence[str | Path], text_options: TextOptions, options: TrainOptions) -> dict[str, str]:
    """What a user has said, by the names of the arguments of `lowtide.pretrain`; what was left open is not in it."""
    said = {**departures(text_options), **departures(options), **departures(options.budget)}
    said.pop("budget", None)
    if "dropouts" in said:
        said["dropout"] = said.pop("dropouts")
    return {"texts": _texts_said(texts), **{name: _shown(value) for name, value in said.items()}}


def _texts_said(texts: Sequence[str | Path]) -> str:
    """The files by name and size: they may lie elsewhere by now, and be the same."""
    try:
        files = find_files(texts)
    except LowtideError:  # they are not there; who reads them says so
        return ", ".join(map(str, texts))
    sizes = [None if file == STANDARD_INPUT else Path(file).stat().st_size for file in files]
    return ", ".join(
        file if size is None else f"{Path(file).name} ({size:,} bytes)" for file, size in zip(files, sizes, strict=True)
    )


def _shown(value: Any) -> str:
    """A value for reading; of a path its name, as it may lie elsewhere by now."""
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    return value.name if isinstance(value, Path) else str(value)


def remember(out: Path, asked: Mapping[str, str]) -> None:
    """Write down what a training was begun with."""
    write_json(work_of(out) / _ASKED, dict(asked))


def _remembered(out: Path) -> dict[str, str] | None:
    """What a training was begun with; None where that is not known: begun by an older version, or damaged."""
    try:
        found = read_json(work_of(out) / _ASKED)
    except LowtideError:
        return None
    return {name: str(value) for name, value in found.items()} if isinstance(found, dict) else None


def begun(out: Path, asked: Mapping[str, str], options: TrainOptions, *, writes: bool) -> Settings | None:
    """The settings of the training that lies in ``out``; None if none has come as far as that.

    They are what they were but for a learning rate and a device that are said anew; those are written down.

    Args:
        out: its folder.
        asked: what is said now, from `asked_for`.
        options: the same.
        writes: whether it is this process that writes files.

    Raises:
        InputError: if the training has ended, or its device is not there.
    """
    if not has_begun(out):
        return None
    config = from_json(ModelConfig, read_config(out), where=str(out / CONFIG))
    kept = from_json(Settings, config.training, where=f"{out / CONFIG}: training")
    _warn_of_unused(out, asked, options, kept, config)
    settings = kept
    if options.learning_rate is not None:
        settings = dataclasses.replace(settings, learning_rate=options.learning_rate)
    if options.device != "auto":
        settings = dataclasses.replace(settings, device=str(pick_device(options.device)))
        if settings.device != kept.device:
            warnings.warn(
                f"this training began on {kept.device} and goes on on {settings.device}: not bit for bit as it would "
                "have",
                stacklevel=6,
            )
    if writes and settings != kept:
        write_json(out / CONFIG, to_json(dataclasses.replace(config, training=to_json(settings))))
    return settings


def _warn_of_unused(
    out: Path, asked: Mapping[str, str], options: TrainOptions, settings: Settings, config: ModelConfig
) -> None:
    """A resumed training keeps its settings: say so where other ones are asked for."""
    before = _remembered(out)
    if before is not None and "tensorboard" in before and not options.tensorboard:
        warnings.warn(
            "this training was written for TensorBoard, too, and goes on without: say tensorboard again", stacklevel=7
        )
    settled = {
        "preset": settings.preset,
        "tokens": str(settings.budget_tokens),
        "threads": str(settings.num_threads),
        "seed": str(settings.seed),
        "trunk": settings.trunk,
        "softmax": settings.softmax,
        "dtype": settings.dtype,
        "objective": settings.objective,
        "tied": str(settings.is_tied),
        "dropout": str(settings.dropouts_in_use),
        "documents": str(settings.documents),
        "min_count": str(settings.min_count),
        "inputs": "words" if settings.bilm.char_cnn is None else "characters",
        "language": config.tokenizer.language,
        "tokenizer": config.tokenizer.name,
    }
    for name, wanted in asked.items():
        said = None if before is None else before.get(name)
        kept = settled.get(name, said)
        is_same = wanted in (said, kept) or (name == "tokens" and options.budget.num_tokens == settings.budget_tokens)
        if name in _TAKEN_ANEW or is_same or (kept is None and before is None):
            continue
        if kept is None:
            told = f"this training goes on with {name} left open, as it began, not {_short(wanted)}"
        else:
            told = f"this training goes on with {name} {_short(kept)}, as it began, not {_short(wanted)}"
        warnings.warn(told, stacklevel=7)


def _short(value: str) -> str:
    return value if len(value) <= _MOST_SHOWN else f"...{value[3 - _MOST_SHOWN :]}"
