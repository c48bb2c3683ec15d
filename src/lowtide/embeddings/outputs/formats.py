"""The table of all formats of vector files; an ending names each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from lowtide.embeddings.outputs import hdf5, memory_map, npz, parquet, safetensors_file
from lowtide.embeddings.outputs.base import VectorReader, VectorWriter
from lowtide.embeddings.outputs.memory_map_reader import INDEX
from lowtide.errors import InputError, nearest, require
from lowtide.files import written_whole


@dataclass(frozen=True)
class _Format:
    open_writer: Callable[[Path], AbstractContextManager[VectorWriter]]
    open_reader: Callable[[Path], VectorReader]
    is_folder: bool = False
    library: str | None = None
    """That is not always installed, of the extra of the same name as the ending."""
    check_key: Callable[[str], None] | None = None
    """Refuses what cannot be a key, before any work is done; None where all can."""


_HDF5 = _Format(hdf5.open_writer, hdf5.open_reader, check_key=hdf5.check_key)
FORMATS = {
    ".h5": _HDF5,
    ".hdf5": _HDF5,
    ".npz": _Format(npz.open_writer, npz.open_reader),
    ".parquet": _Format(parquet.open_writer, parquet.open_reader, library="pyarrow"),
    ".safetensors": _Format(
        safetensors_file.open_writer, safetensors_file.open_reader, check_key=safetensors_file.check_key
    ),
    ".mmap": _Format(memory_map.open_writer, memory_map.open_reader, is_folder=True),
}


def format_of(path: Path) -> _Format:
    """The format that the ending of a path names.

    Raises:
        InputError: if it names none.
    """
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise InputError(
            f"the ending of {path.name!r} names no vector file.{nearest(ending, FORMATS)} Known: {', '.join(FORMATS)}"
        )
    return FORMATS[ending]


def check_output(path: Path) -> None:
    """Refuse what cannot become a vector file, before any work is done.

    Raises:
        InputError: if the ending is unknown, or something else stands at the place of a folder.
        MissingExtraError: if the library for this format is not installed.
    """
    kind = format_of(path)
    if kind.library is not None:
        require(kind.library, extra=path.suffix[1:].lower())
    if not kind.is_folder:
        return
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file, and {path.suffix} is a folder: choose another name, or remove it")
    if path.is_dir() and any(path.iterdir()) and not (path / INDEX).is_file():
        raise InputError(f"{path} is a folder with something else in it: choose another name")


@contextmanager
def open_output(path: Path) -> Iterator[VectorWriter]:
    """A writer for a vector file, which appears whole when all is written.

    Args:
        path: its ending says which format.

    Raises:
        InputError: if the ending is unknown, or something else stands at the place of a folder.
        MissingExtraError: if the library for this format is not installed.
        WriteError: if it cannot be written.
    """
    check_output(path)
    with written_whole(path) as beside, format_of(path).open_writer(beside) as writer:
        yield writer
