"""Vector files: one writer a format, all with the same verb."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.outputs import hdf5, npz
from lowtide.errors import InputError, nearest
from lowtide.files import written_whole
from lowtide.text.tokenize import Sentence


class VectorWriter(Protocol):
    """Takes the vectors of one sentence after the other."""

    def write(self, sentence: Sentence, vectors: Vectors) -> None:
        """Add the next sentence; they are numbered from 0, empty ones too."""


_FORMATS: dict[str, Callable[[Path], AbstractContextManager[VectorWriter]]] = {
    ".h5": hdf5.open_writer,
    ".hdf5": hdf5.open_writer,
    ".npz": npz.open_writer,
}


def check_output(path: Path) -> None:
    """Refuse a name that no writer is for, before any work is done.

    Raises:
        InputError: if the ending is unknown.
    """
    if path.suffix.lower() not in _FORMATS:
        raise InputError(
            f"the ending of {path.name!r} names no vector file.{nearest(path.suffix, _FORMATS)} "
            f"Known: {', '.join(_FORMATS)}"
        )


@contextmanager
def open_output(path: Path) -> Iterator[VectorWriter]:
    """A writer for a vector file, which appears whole when all is written.

    Args:
        path: its ending says which format.

    Raises:
        InputError: if the ending is unknown.
        WriteError: if it cannot be written.
    """
    check_output(path)
    with written_whole(path) as beside, _FORMATS[path.suffix.lower()](beside) as writer:
        yield writer
