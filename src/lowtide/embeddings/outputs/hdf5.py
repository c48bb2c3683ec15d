"""Vectors as HDF5, in the layout of the published tools.

Dataset ``"i"`` per sentence from 0, (layers, tokens, width) or (tokens, width), float32, with the
tokens as attribute ``tokens``; ``sentence_to_index`` is one JSON object from the sentence (its
tokens joined by spaces) to its number as a string, as AllenNLP's ``elmo`` command writes it. Of
equal sentences it names the last; the numbered datasets hold each.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from lowtide.embeddings.base import Vectors
from lowtide.text.tokenize import Sentence


class _Disk(io.RawIOBase):
    """A file that HDF5 can always write to.

    Where the system refuses (a full disk), HDF5 would fail once more for every object that is open,
    and then bring the process down. So it is not told: `check` tells its owner.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._refusal: OSError | None = None

    def check(self) -> None:
        """Raise what the system has refused, if it has."""
        if self._refusal is not None:
            raise self._refusal

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while len(left) and self._refusal is None:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._refusal = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._refusal = self._refusal or error
            return size or 0

    def readinto(self, buffer: Any) -> int | None:
        return self._file.readinto(buffer)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


class _Writer:
    def __init__(self, file: h5py.File, disk: _Disk) -> None:
        self._file, self._disk = file, disk
        self._count = 0
        self._index: dict[str, str] = {}

    def write(self, sentence: Sentence, vectors: Vectors) -> None:
        key = str(self._count)
        dataset = self._file.create_dataset(key, data=vectors, track_times=False)
        # a type of variable length that may hold no token at all
        dataset.attrs.create("tokens", data=[_storable(t) for t in sentence], dtype=h5py.string_dtype())
        self._index[" ".join(sentence)] = key
        self._count += 1
        self._disk.check()

    def close(self) -> None:
        text = _storable(json.dumps(self._index))
        self._file.create_dataset("sentence_to_index", data=[text], dtype=h5py.string_dtype(), track_times=False)


def _storable(text: str) -> str:
    """HDF5 strings end at a zero byte and are UTF-8: what has no place in them is replaced."""
    return text.replace("\0", "\ufffd").encode("utf-8", errors="replace").decode("utf-8")


@contextmanager
def open_writer(path: Path) -> Iterator[_Writer]:
    """Write vectors to an HDF5 file, sentence by sentence."""
    with _Disk(path) as disk:
        # the newest layout of the file lets an attribute hold the tokens of a very long sentence
        with h5py.File(disk, "w", libver="latest") as file:
            writer = _Writer(file, disk)
            yield writer
            writer.close()
        disk.check()
