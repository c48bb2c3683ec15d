"""From one format to another."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from lowtide.errors import InputError, nearest
from lowtide.files import explained, write_text, written_whole
from lowtide.weights import allennlp, native
from lowtide.weights.native import Store
from lowtide.weights.stored import StoredModel

log = logging.getLogger("lowtide")


def _write_native(folder: Path, model: StoredModel, store: Store) -> None:
    softmax = None if model.read_softmax is None else model.load_softmax()
    native.save_model(
        folder,
        model.config,
        model.words,
        model.bilm,
        softmax,
        model.letters,
        more_words=model.more_words,
        store=store,
    )
    if model.calibration is not None and store != "float32":
        log.info("calibration left out: rounded weights are another model. Fit it with `lowtide embed ... --calibrate`")
    elif model.calibration is not None:
        shutil.copyfile(model.calibration, folder / native.CALIBRATION)
    source = "" if model.format == native.NAME else f"Converted from {model.path.name} ({model.format}).\n\n"
    write_text(folder / native.CARD, source + model.card)


def _write_hdf5(folder: Path, model: StoredModel, store: Store) -> None:
    if store != "float32":
        raise InputError(f"the published format holds float32: found store={store!r}, leave it out")
    allennlp.write(folder, model)


WRITERS: dict[str, Callable[[Path, StoredModel, Store], None]] = {"lowtide": _write_native, "hdf5": _write_hdf5}
"""The formats that are written: our own folder, and the published pair of options.json and weights.hdf5."""


def convert(model: StoredModel, target: Path, *, to: str = "lowtide", store: Store = "float32") -> None:
    """Write a model of any format in another; every tensor keeps its bytes, unless the log says otherwise.

    Args:
        model: as it was read.
        target: the folder to make.
        to: ``lowtide`` or ``hdf5``.
        store: the type of the numbers in our own folder; ``float16`` halves it, and rounds every weight; ``int8``
            halves vectors that are looked up once more.

    Raises:
        InputError: if the format is unknown, or the folder holds something.
        ModelError: if that format cannot hold this model.
        WriteError: if the folder cannot be written.
    """
    if to not in WRITERS:
        raise InputError(f"unknown format {to!r}.{nearest(to, WRITERS)} Known: {', '.join(WRITERS)}")
    check_target(target)
    with written_whole(target) as beside, explained(target):
        beside.mkdir()
        WRITERS[to](beside, model, store)


def check_target(target: Path) -> None:
    """Refuse to write where something lies.

    Raises:
        InputError: if the folder holds something, or is none.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is there already and not empty: choose another folder, or remove it")
