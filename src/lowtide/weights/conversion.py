"""From one format to another."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from lowtide.errors import InputError, nearest
from lowtide.files import explained, write_text, written_whole
from lowtide.weights import allennlp, native
from lowtide.weights.stored import StoredModel


def _write_native(folder: Path, model: StoredModel) -> None:
    softmax = None if model.read_softmax is None else model.load_softmax()
    native.save_model(folder, model.config, model.words, model.bilm, softmax, model.letters)
    if model.calibration is not None:
        shutil.copyfile(model.calibration, folder / native.CALIBRATION)
    source = "" if model.format == native.NAME else f"Converted from {model.path.name} ({model.format}).\n\n"
    write_text(folder / native.CARD, source + model.card)


WRITERS: dict[str, Callable[[Path, StoredModel], None]] = {"lowtide": _write_native, "hdf5": allennlp.write}
"""The formats that are written: our own folder, and the published pair of options.json and weights.hdf5."""


def convert(model: StoredModel, target: Path, *, to: str = "lowtide") -> None:
    """Write a model of any format in another; every tensor keeps its bytes, unless the log says otherwise.

    Args:
        model: as it was read.
        target: the folder to make.
        to: ``lowtide`` or ``hdf5``.

    Raises:
        InputError: if the format is unknown, or the folder holds something.
        ModelError: if that format cannot hold this model.
        WriteError: if the folder cannot be written.
    """
    if to not in WRITERS:
        raise InputError(f"unknown format {to!r}.{nearest(to, WRITERS)} Known: {', '.join(WRITERS)}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is there already and not empty: choose another folder, or remove it")
    with written_whole(target) as beside, explained(target):
        beside.mkdir()
        WRITERS[to](beside, model)
