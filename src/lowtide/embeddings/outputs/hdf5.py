"""Vectors as HDF5, in the layout of the published tools.

Dataset ``"i"`` per sentence from 0, (layers, tokens, width) or (tokens, width), float32, with the
tokens as attribute ``tokens``; ``sentence_to_index`` is one JSON object from the sentence (its
tokens joined by spaces) to its number as a string, as AllenNLP's ``elmo`` command writes it. Of
equal sentences it names the last; the numbered datasets hold each.

Read are those files, and what other tools wrote in much the same way: see `open_embeddings`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from lowtide.embeddings.base import Vectors
from lowtide.errors import InputError
from lowtide.text.tokenize import Sentence

_INDEX = "sentence_to_index"


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
    def __init__(self, file: h5py.File, check: Callable[[], None]) -> None:
        self._file, self._check = file, check
        self._keys: set[str] = set()
        self._index: dict[str, str] = {}

    def write(self, key: str, sentence: Sentence, vectors: Vectors) -> None:
        if key in self._keys:
            raise InputError(f"{key} stands twice: keys by line never do")
        if "/" in key or key in (".", "sentence_to_index"):
            raise InputError(f"{key} cannot be a key of an HDF5 file: use keys by line, or .npz")
        dataset = self._file.create_dataset(_storable(key), data=vectors, track_times=False)
        # a type of variable length that may hold no token at all
        dataset.attrs.create("tokens", data=[_storable(t) for t in sentence], dtype=h5py.string_dtype())
        self._index[" ".join(sentence)] = key
        self._keys.add(key)
        self._check()

    def close(self) -> None:
        text = _storable(json.dumps(self._index))
        self._file.create_dataset(_INDEX, data=[text], dtype=h5py.string_dtype(), track_times=False)


def _storable(text: str) -> str:
    """HDF5 strings end at a zero byte and are UTF-8: what has no place in them is replaced."""
    return text.replace("\0", "\ufffd").encode("utf-8", errors="replace").decode("utf-8")


@contextmanager
def created(path: Path, **options: Any) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """A new HDF5 file, and what is to be called after writing: it raises what the system has refused meanwhile.

    Args:
        path: of the file.
        options: of `h5py.File`.
    """
    with _Disk(path) as disk:
        with h5py.File(disk, "w", **options) as file:
            yield file, disk.check
        disk.check()


@contextmanager
def open_writer(path: Path) -> Iterator[_Writer]:
    """Write vectors to an HDF5 file, sentence by sentence."""
    # the newest layout of the file lets an attribute hold the tokens of a very long sentence
    with created(path, libver="latest") as (file, check):
        writer = _Writer(file, check)
        yield writer
        writer.close()


class _Stored:
    """A dataset that has not been read yet."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype: np.dtype[Any] = dataset.dtype
        self.num_bytes: int = dataset.id.get_storage_size()

    def read(self) -> NDArray[Any]:
        numbers: NDArray[Any] = self._dataset[...]
        return numbers


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = h5py.File(path, "r", locking="best-effort")  # a read-only file system has no locks
        self.keys: list[str] = [key for key in self._file if key != _INDEX]

    @contextmanager
    def stored(self, key: str) -> Iterator[_Stored]:
        dataset = self._dataset(key)
        if dataset.shape is None:
            raise InputError(f"{self._path}: {key!r} is without a shape, expected the vectors of a sentence")
        yield _Stored(dataset)

    def tokens(self, key: str) -> list[str] | None:
        attributes = self._dataset(key).attrs
        if "tokens" not in attributes:
            return None
        tokens = attributes["tokens"]
        if isinstance(tokens, np.ndarray) and tokens.ndim == 1 and all(isinstance(token, str) for token in tokens):
            return [str(token) for token in tokens]
        raise InputError(
            f"{self._path}: the tokens of {key!r} are no list of texts: were they written by something else?"
        )

    def sentences(self) -> dict[str, str]:
        if _INDEX not in self._file:
            return {}
        dataset = self._dataset(_INDEX)
        if dataset.size == 1 and h5py.check_string_dtype(dataset.dtype):
            index = json.loads(dataset.asstr()[...].item())
            if isinstance(index, dict):
                return {str(key): sentence for sentence, key in index.items()}
        raise InputError(f"{self._path}: {_INDEX} is no JSON object: did something else write it?")

    def close(self) -> None:
        self._file.close()

    def _dataset(self, key: str) -> h5py.Dataset:
        """Of the file itself: what leads out of it is not followed."""
        if not isinstance(self._file.get(key, getlink=True), h5py.HardLink):
            raise InputError(f"{self._path}: {key!r} is a link to something else, expected the vectors of a sentence")
        dataset = self._file[key]
        if not isinstance(dataset, h5py.Dataset):
            raise InputError(
                f"{self._path}: {key!r} is a group, expected the vectors of a sentence: is it a file of weights?"
            )
        if dataset.is_virtual or dataset.external:
            raise InputError(f"{self._path}: the numbers of {key!r} lie in another file, expected them in this one")
        return dataset


def open_reader(path: Path) -> _Reader:
    """Read the datasets of an HDF5 file, one by one."""
    return _Reader(path)
