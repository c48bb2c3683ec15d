"""The folder of a training: kept for one process, never taken from another, cleared of what a stop has left.

=====================  ======================================================================
``config.json``        written when everything is decided; with it, a training has begun
``work/``              tokenised text and checkpoints; private, so removed at the end
``model.safetensors``  written last; with it, the training has ended
``.lock``              there while a process trains
=====================  ======================================================================

That is how a language model is trained. A task is taught in the same kind of folder by other signs: `TASK`.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from lowtide.errors import InputError, ModelError
from lowtide.files import explained, make_folder, remove
from lowtide.training.checkpoint import CHECKPOINT
from lowtide.weights.native import CONFIG, MODEL

WORK, BEGUN, RESULTS = "work", "begun.json", "results.json"
_LOCK = ".lock"
_OURS = ".lowtide"
"""Stands in every ``work`` folder that a training has made: no other is ever removed."""
_REMOVED = ".work.removed"


@dataclass(frozen=True)
class Signs:
    """Files of a folder that tell how far a training has come."""

    begun: str
    """There as soon as there is something to go on with."""
    ended: str
    """There when all is made."""


PRETRAINING = Signs(begun=CONFIG, ended=MODEL)
TASK = Signs(begun=f"{WORK}/{BEGUN}", ended=RESULTS)


def work_of(out: Path) -> Path:
    """Where the tokenised text and the checkpoints of a training lie."""
    return out / WORK


@contextmanager
def reserved(out: Path) -> Iterator[None]:
    """Keep a folder for this process. The lock is the system's: it does not outlive the process.

    Raises:
        InputError: if another process trains into it.
        WriteError: if the folder cannot be made.
    """
    lock = FileLock(out / _LOCK)
    is_new = not out.exists()
    with explained(out):
        make_folder(out)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise InputError(f"another training is writing into {out}: wait for it, or choose another --out") from None
    try:
        if _is_ours(out):
            for path in [*out.glob(".*.part"), out / _REMOVED]:  # what a killed run has left half written or removed
                remove(path)
        yield
    except BaseException:
        if _is_ours(out) and not _has_begun_somehow(out) and not _has_checkpoint(out):  # nothing of worth is lost
            remove(work_of(out))
        raise
    finally:
        if os.name == "nt":  # where a file that is open cannot be removed
            lock.release()
        remove(out / _LOCK)
        lock.release()
        if is_new and not any(out.iterdir()):
            out.rmdir()


def _is_ours(out: Path) -> bool:
    return (work_of(out) / _OURS).exists() or (out / _REMOVED).exists()


def _has_begun_somehow(out: Path) -> bool:
    return any((out / signs.begun).exists() for signs in (PRETRAINING, TASK))


def _has_checkpoint(out: Path) -> bool:
    return (work_of(out) / CHECKPOINT).exists()


def begin_work(out: Path) -> None:
    """Make the work folder, in a folder that holds nothing else.

    Raises:
        InputError: if it holds something.
    """
    if (out / MODEL).exists():
        raise InputError(f"{out} holds a model already: choose another --out, or remove it")
    if has_ended(out, TASK):
        raise InputError(f"{out} holds something already: choose another --out, or remove it")
    if _has_begun_somehow(out) or _has_checkpoint(out):
        raise InputError(f"{out} holds a training that has not ended: go on with --resume, or remove it")
    work = work_of(out)
    is_ours = _is_ours(out)
    if any(path.name != _LOCK and not (path == work and is_ours) for path in out.iterdir()):
        raise InputError(f"{out} is not empty: choose another --out")
    with explained(out):
        if is_ours:
            remove(work)  # of a run that was killed before its first step: of another text, maybe
        work.mkdir(exist_ok=True)
        (work / _OURS).touch()


def has_begun(out: Path, signs: Signs = PRETRAINING) -> bool:
    """Whether there is a training to go on with.

    Raises:
        InputError: if it has ended, or is one of another kind.
        ModelError: if its settings are gone.
    """
    if has_ended(out, signs):
        raise InputError(f"the training in {out} has ended: there is nothing to resume")
    if (out / signs.begun).exists():
        return True
    if _has_begun_somehow(out):
        raise InputError(f"{out} holds something already: choose another --out, or remove it")
    if _has_checkpoint(out):
        raise ModelError(f"{out / signs.begun} is not there, but a checkpoint is: put it back, or choose another --out")
    return False


def is_under_way(out: Path, signs: Signs = PRETRAINING) -> bool:
    """Whether there is something to go on with after a stop."""
    return (out / signs.begun).exists() and not has_ended(out, signs)


def has_ended(out: Path, signs: Signs = PRETRAINING) -> bool:
    """Whether all is made, and nothing left to do for it."""
    return (out / signs.ended).exists() and not work_of(out).exists()


def remove_work(out: Path) -> None:
    """Remove the work folder, at once: half of one would be taken for a whole one.

    No array may be mapped from it any more: Windows does not remove a file that is in use.
    """
    if os.name == "nt":
        gc.collect()
    work_of(out).replace(out / _REMOVED)
    remove(out / _REMOVED)
