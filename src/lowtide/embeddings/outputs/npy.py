"""Arrays in ``.npy`` files that are written row by row and read row by row, as `numpy.load` reads them too."""

from __future__ import annotations

import io
import math
import shutil
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lowtide.errors import InputError

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = 128
"""Bytes, always: there is room for any number of rows."""
_BUFFER = 1 << 18
_CHUNK = 1 << 20
"""Bytes, or numbers, that are copied at once."""


class GrowingArray:
    """An array on disk that grows row by row; it is complete when it is closed."""

    def __init__(self, path: Path, dtype: DTypeLike, row_shape: tuple[int, ...] = ()) -> None:
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.row_shape = row_shape
        self.num_rows = 0
        self._file = path.open("wb", buffering=_BUFFER)
        self._write_header()

    def _write_header(self) -> None:
        shape = (self.num_rows, *self.row_shape)
        fields = f"{{'descr': {self.dtype.str!r}, 'fortran_order': False, 'shape': {shape}, }}".encode("ascii")
        size = _HEADER - len(_MAGIC) - 2
        self._file.write(_MAGIC + size.to_bytes(2, "little") + fields.ljust(size - 1) + b"\n")

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows, (rows, *row_shape)."""
        assert rows.shape[1:] == self.row_shape, (rows.shape, self.row_shape)
        self._file.write(np.ascontiguousarray(rows, self.dtype).data.cast("B") if rows.size else b"")
        self.num_rows += len(rows)

    def extend(self, other: StoredArray, *, skip: int = 0, plus: int = 0) -> None:
        """Add the rows of another array, but for the first ``skip``, with a number added to each."""
        assert other.shape[1:] == self.row_shape and other.dtype == self.dtype
        if plus == 0:
            other.copy_to(self._file, skip=skip)
            self.num_rows += len(other) - skip
            return
        for start in range(skip, len(other), _CHUNK):
            self.append(other.read(start, min(start + _CHUNK, len(other))) + plus)

    def fill(self, num_rows: int, value: int) -> None:
        """Add so many rows of one number."""
        for start in range(0, num_rows, _CHUNK):
            self.append(np.full((min(_CHUNK, num_rows - start), *self.row_shape), value, self.dtype))

    def finish(self) -> None:
        """Say how many rows there are."""
        self._file.seek(0)
        self._write_header()

    def close(self) -> None:
        """Let go of the file, be it finished or not."""
        self._file.close()


class StoredArray:
    """An array on disk, of which only the rows that are asked for are read: its file may be larger than memory.

    Raises:
        InputError: if it is damaged, or another kind of array than expected.
    """

    def __init__(self, path: Path, *, dtypes: tuple[str, ...] = ("<i8",), num_axes: tuple[int, ...] = (1,)) -> None:
        if not path.is_file():
            raise InputError(f"{path} is not there: is a part of the folder lost?")
        self.path = path
        self._file = io.BufferedReader(io.FileIO(path), _BUFFER)
        try:
            self._read_header(dtypes, num_axes)
        except BaseException:
            self._file.close()
            raise

    def _read_header(self, dtypes: tuple[str, ...], num_axes: tuple[int, ...]) -> None:
        if (version := np.lib.format.read_magic(self._file)) != (1, 0):
            raise InputError(f"{self.path} has version {version} of the format, expected 1.0")
        shape, is_fortran, self.dtype = np.lib.format.read_array_header_1_0(self._file)
        self.shape: tuple[int, ...] = shape
        self._start = self._file.tell()
        if self.dtype.str not in dtypes or len(shape) not in num_axes or min(shape) < 0 or is_fortran:
            raise InputError(f"{self.path} holds {self.dtype} in the shape {shape}: was it written by something else?")
        self._row_bytes = math.prod(shape[1:]) * self.dtype.itemsize
        size = self.path.stat().st_size - self._start
        if size != len(self) * self._row_bytes:
            raise InputError(
                f"{self.path} is said to have {len(self) * self._row_bytes:,} bytes and has {size:,}: is it damaged?"
            )

    def __len__(self) -> int:
        return self.shape[0]

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """The rows from one to another, (stop - start, *row_shape).

        Raises:
            InputError: if there are no such rows.
        """
        if not 0 <= start <= stop <= len(self):
            raise InputError(f"{self.path} has no rows {start:,} to {stop:,}: is it damaged?")
        self._file.seek(self._start + start * self._row_bytes)
        rows = np.empty((stop - start, *self.shape[1:]), self.dtype)
        if rows.size and self._file.readinto(rows.data.cast("B")) != rows.nbytes:
            raise InputError(f"{self.path} has no rows {start:,} to {stop:,}: is it damaged?")
        return rows

    def copy_to(self, file: IO[bytes], *, skip: int) -> None:
        """All bytes of the rows, but for the first ``skip``."""
        self._file.seek(self._start + skip * self._row_bytes)
        shutil.copyfileobj(self._file, file, _CHUNK)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
