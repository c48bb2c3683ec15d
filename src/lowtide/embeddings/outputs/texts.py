"""Texts on disk, one after the other: all their bytes in one file, where each begins in an array beside it."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from lowtide.embeddings.outputs.npy import GrowingArray, StoredArray
from lowtide.errors import InputError

_BUFFER = 1 << 18


class GrowingTexts:
    """``name.utf8`` and ``name.npy``, written text by text."""

    def __init__(self, folder: Path, name: str) -> None:
        self._starts = GrowingArray(folder / f"{name}.npy", np.int64)
        self._file = (folder / f"{name}.utf8").open("wb", buffering=_BUFFER)
        self._starts.append(np.zeros(1, np.int64))
        self._size = 0

    def __len__(self) -> int:
        return self._starts.num_rows - 1

    def append(self, texts: Sequence[str]) -> None:
        """Add texts."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = list(itertools.accumulate(map(len, encoded), initial=self._size))
        self._starts.append(np.array(ends[1:], np.int64))
        self._file.write(b"".join(encoded))
        self._size = ends[-1]

    def extend(self, other: StoredTexts) -> None:
        """Add all texts of another file."""
        self._starts.extend(other.starts, skip=1, plus=self._size)
        other.copy_to(self._file)
        self._size += other.size

    def finish(self) -> None:
        """Say how many there are."""
        self._starts.finish()

    def close(self) -> None:
        """Let go of the files."""
        self._starts.close()
        self._file.close()


class StoredTexts:
    """What `GrowingTexts` wrote; only what is asked for is read.

    Raises:
        InputError: if it is damaged.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.utf8"
        if not self._path.is_file():
            raise InputError(f"{self._path} is not there: is a part of the folder lost?")
        self.starts = StoredArray(folder / f"{name}.npy")
        self._file = self._path.open("rb", buffering=_BUFFER)
        self.size = self._path.stat().st_size
        """Bytes of all texts."""
        if not len(self.starts) or self.starts.read(len(self), len(self) + 1)[0] != self.size:
            self.close()
            raise InputError(f"{folder}: its files do not belong together: is it damaged, or only half copied?")

    def __len__(self) -> int:
        return len(self.starts) - 1

    def read(self, start: int, stop: int) -> list[str]:
        """The texts from one to another.

        Raises:
            InputError: if it is damaged.
        """
        if start == stop:
            return []
        starts = self.starts.read(start, stop + 1)
        if starts[0] < 0 or (np.diff(starts) < 0).any() or starts[-1] > self.size:
            raise InputError(f"{self._path} has no rows {start:,} to {stop:,}: is it damaged?")
        begin = int(starts[0])
        self._file.seek(begin)
        content = self._file.read(int(starts[-1]) - begin)
        places = (starts - begin).tolist()
        return [content[i:j].decode("utf-8", "surrogatepass") for i, j in itertools.pairwise(places)]

    def all(self) -> list[str]:
        """Every text."""
        return self.read(0, len(self))

    def copy_to(self, file: IO[bytes]) -> None:
        """All bytes."""
        self._file.seek(0)
        shutil.copyfileobj(self._file, file, 1 << 20)

    def close(self) -> None:
        """Let go of the files."""
        self.starts.close()
        self._file.close()
