"""Vectors as a NumPy archive: array ``"i"`` per sentence from 0, read with ``numpy.load``.

The list of its arrays, some hundred bytes each, is held in memory until the end: that is the format.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lowtide.embeddings.outputs.base import EmbeddedSentence
from lowtide.embeddings.outputs.keys import storable, twice
from lowtide.errors import InputError


class _Writer:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def write(self, sentence: EmbeddedSentence) -> None:
        name = f"{storable(sentence.key)}.npy"
        if name in self._archive.NameToInfo:
            raise twice(sentence.key)
        # written one by one, as numpy.savez would have all arrays in memory; a name alone as the
        # entry has no date in it, so that equal vectors make equal files
        with self._archive.open(name, "w", force_zip64=True) as entry:
            np.lib.format.write_array(entry, np.ascontiguousarray(sentence.vectors), allow_pickle=False)


@contextmanager
def open_writer(path: Path) -> Iterator[_Writer]:
    """Write vectors to a NumPy archive, sentence by sentence."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        yield _Writer(archive)


_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
"""By version; a third one is for names that are no Latin letters, which arrays of plain numbers have none of."""


class _Stored:
    """An entry of which the header has been read."""

    def __init__(self, path: Path, entry: IO[bytes], info: zipfile.ZipInfo) -> None:
        self._path, self._entry, self._info = path, entry, info
        version = np.lib.format.read_magic(entry)
        if version not in _HEADERS:
            raise InputError(f"{path}: {info.filename!r} has version {version} of the format, expected 1.0 or 2.0")
        shape, self._is_fortran, self.dtype = _HEADERS[version](entry)
        self.shape: tuple[int, ...] = shape
        # an archive may claim to be larger than it is
        self.num_bytes = min(info.compress_size, path.stat().st_size)

    def read(self) -> NDArray[Any]:
        # an array may not claim more than there is
        size = math.prod(self.shape) * self.dtype.itemsize
        content = self._entry.read(size + 1)
        if len(content) != size:
            raise InputError(
                f"{self._path}: {self._info.filename!r} is said to have {size:,} bytes and has another number of them: "
                "is it damaged?"
            )
        numbers = np.frombuffer(content, self.dtype)
        return numbers.reshape(self.shape, order="F" if self._is_fortran else "C")


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._archive = zipfile.ZipFile(path)
        names = self._archive.namelist()
        for name in names:
            if not name.endswith(".npy"):
                self._archive.close()
                raise InputError(f"{path}: {name!r} is no array, expected a NumPy archive")
        self.keys = [name.removesuffix(".npy") for name in names]

    @contextmanager
    def stored(self, key: str) -> Iterator[_Stored]:
        info = self._archive.getinfo(f"{key}.npy")
        with self._archive.open(info) as entry:
            yield _Stored(self._path, entry, info)

    def tokens(self, key: str) -> None:
        """There are none in an archive."""

    def spans(self, key: str) -> None:
        """There are none in an archive."""

    def sentences(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        self._archive.close()


def open_reader(path: Path) -> _Reader:
    """Read the arrays of a NumPy archive, one by one; pickled objects are refused."""
    return _Reader(path)
