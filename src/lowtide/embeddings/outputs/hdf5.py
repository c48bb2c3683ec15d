"""Vectors as HDF5, in the layout of the published tools.

Dataset ``"i"`` per sentence from 0, (layers, tokens, width) or (tokens, width), float32 or float16, with
the tokens as attribute ``tokens``, and where they stand in the raw text, if that is known, as attribute
``offsets``: (tokens, 2), in characters, the end exclusive. ``sentence_to_index`` is one JSON object from
the sentence (its tokens joined by spaces) to its number as a string, as AllenNLP's ``elmo`` command
writes it. Equal sentences stand in it more than once, and of those a reader of JSON takes the last; the
numbered datasets hold each.

Read are those files, and what other tools wrote in much the same way: see `open_embeddings`.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from lowtide.embeddings.outputs.base import EmbeddedSentence, file_beside
from lowtide.embeddings.outputs.keys import storable, twice
from lowtide.errors import InputError

log = logging.getLogger(__name__)

_INDEX = "sentence_to_index"
_SPANS = "offsets"
_LONGEST_INDEX = (1 << 32) - 1
"""Bytes of a text in HDF5."""


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


def check_key(key: str) -> None:
    """Refuse what cannot be the name of a dataset.

    Raises:
        InputError: if it cannot.
    """
    if not key or "/" in key or key in (".", _INDEX):
        raise InputError(f"{key} cannot be a key of an HDF5 file: use keys by line, or .npz")


class _Writer:
    def __init__(self, file: h5py.File, disk: _Disk, index: IO[bytes]) -> None:
        self._file, self._disk, self._index = file, disk, index
        self._opening = b"{"

    def write(self, sentence: EmbeddedSentence) -> None:
        key = storable(sentence.key)
        check_key(key)
        if key in self._file:
            raise twice(key)
        dataset = self._file.create_dataset(key, data=sentence.vectors, track_times=False)
        # a type of variable length that may hold no token at all
        dataset.attrs.create("tokens", data=[storable(t) for t in sentence.tokens], dtype=h5py.string_dtype())
        if sentence.spans is not None:
            dataset.attrs.create(_SPANS, data=np.array(sentence.spans, np.int64).reshape(-1, 2))
        text = json.dumps({storable(" ".join(sentence.tokens)): key})
        self._index.write(self._opening + text[1:-1].encode())
        self._opening = b", "
        self._disk.check()

    def close(self) -> None:
        """Write the index: all texts are in it, of which there may be more than memory has room for."""
        self._index.write(b"}" if self._opening == b", " else b"{}")
        size = self._index.tell()
        if size > _LONGEST_INDEX:
            log.warning("%s is left out: HDF5 holds no text of %s bytes", _INDEX, size)
            return
        place = _room_for_text(self._file, _INDEX, size)
        self._file.flush()
        self._index.seek(0)
        self._disk.seek(place)
        shutil.copyfileobj(self._index, self._disk, 1 << 20)


def _room_for_text(file: h5py.File, name: str, size: int) -> int:
    """A dataset of one text, still to be written: where in the file it begins."""
    text = h5py.h5t.C_S1.copy()
    text.set_size(size)
    text.set_cset(h5py.h5t.CSET_UTF8)
    text.set_strpad(h5py.h5t.STR_NULLPAD)
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    options.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    options.set_obj_track_times(False)
    place: int = h5py.h5d.create(file.id, name.encode(), text, h5py.h5s.create_simple((1,)), options).get_offset()
    return place


@contextmanager
def _opened(path: Path, **options: Any) -> Iterator[tuple[h5py.File, _Disk]]:
    with _Disk(path) as disk:
        with h5py.File(disk, "w", **options) as file:
            yield file, disk
        disk.check()


@contextmanager
def created(path: Path, **options: Any) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """A new HDF5 file, and what is to be called after writing: it raises what the system has refused meanwhile.

    Args:
        path: of the file.
        options: of `h5py.File`.
    """
    with _opened(path, **options) as (file, disk):
        yield file, disk.check


@contextmanager
def open_writer(path: Path) -> Iterator[_Writer]:
    """Write vectors to an HDF5 file, sentence by sentence."""
    # the newest layout of the file lets an attribute hold the tokens of a very long sentence
    with file_beside(path) as index, _opened(path, libver="latest") as (file, disk):
        writer = _Writer(file, disk, index)
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

    def spans(self, key: str) -> list[tuple[int, int]] | None:
        attributes = self._dataset(key).attrs
        if _SPANS not in attributes:
            return None
        spans = attributes[_SPANS]
        if isinstance(spans, np.ndarray) and spans.ndim == 2 and spans.shape[1] == 2 and spans.dtype.kind in "iu":
            return [(start, end) for start, end in spans.tolist()]
        raise InputError(f"{self._path}: the offsets of {key!r} are not those of its tokens: is it damaged?")

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
