"""Vector files: one writer and one reader a format, all with the same verbs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.outputs import hdf5, npz
from lowtide.errors import InputError, LowtideError, MissingPathError, nearest
from lowtide.files import written_whole
from lowtide.text.tokenize import Sentence

Floats = NDArray[np.floating[Any]]
"""float32 or float64."""

_MAX_RATIO = 100
"""How much smaller than its numbers an array may be stored."""
_SMALL = 1 << 26
"""So many bytes do no harm."""


class VectorWriter(Protocol):
    """Takes the vectors of one sentence after the other."""

    def write(self, key: str, sentence: Sentence, vectors: Vectors) -> None:
        """Add the next sentence, under a key: its number from 0 on, empty ones too, or a name of its own.

        Raises:
            InputError: if the key stands already, or cannot be a key.
        """


class StoredVectors(Protocol):
    """An array in a file, of which nothing is known to be true yet."""

    @property
    def shape(self) -> tuple[int, ...]:
        """As the file claims."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """As the file claims."""

    @property
    def num_bytes(self) -> int:
        """That it takes on disk."""

    def read(self) -> NDArray[Any]:
        """All of its numbers."""


class VectorReader(Protocol):
    """Finds the arrays of a file by their keys."""

    @property
    def keys(self) -> list[str]:
        """In the file's order."""

    def stored(self, key: str) -> AbstractContextManager[StoredVectors]:
        """What is stored under a key."""

    def tokens(self, key: str) -> list[str] | None:
        """The tokens that are stored with it."""

    def sentences(self) -> dict[str, str]:
        """From key to sentence, as far as the file has an index of them."""

    def close(self) -> None:
        """Let go of the file."""


_FORMATS: dict[str, Callable[[Path], AbstractContextManager[VectorWriter]]] = {
    ".h5": hdf5.open_writer,
    ".hdf5": hdf5.open_writer,
    ".npz": npz.open_writer,
}
_READERS: dict[str, Callable[[Path], VectorReader]] = {
    ".h5": hdf5.open_reader,
    ".hdf5": hdf5.open_reader,
    ".npz": npz.open_reader,
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


class Embeddings:
    """The vectors of a file, read sentence by sentence.

    Use it in a ``with``, or `close` it::

        with open_embeddings("vectors.h5") as vectors:
            len(vectors)        # how many sentences
            vectors[0]          # (tokens, width), or (layers, tokens, width)
            vectors.tokens(0)   # ["The", "tide"], or None if the file has no tokens
    """

    def __init__(self, path: Path, reader: VectorReader) -> None:
        self.path = path
        self._reader = reader
        self.is_numbered = all(re.fullmatch("0|[1-9][0-9]{0,17}", key) for key in reader.keys)
        """Whether the keys are the numbers of the sentences; if not, they are names or the sentences themselves."""
        self.keys = sorted(reader.keys, key=int) if self.is_numbered else reader.keys
        if len(set(self.keys)) < len(self.keys):
            raise InputError(f"{path} holds two arrays of one name: is it damaged?")
        missing = next((i for i, key in enumerate(self.keys) if self.is_numbered and int(key) != i), None)
        if missing is not None:
            raise InputError(f"{path} holds no sentence {missing}, but sentence {self.keys[-1]}: is a part of it lost?")

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[Floats]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Floats:
        """The vectors of a sentence.

        Returns:
            (tokens, width) or (layers, tokens, width) as they were written; (width,) if they were pooled. float32, or
            float64 where that is stored; what is stored as float16 comes as float32.

        Raises:
            IndexError: if there are not so many sentences.
            InputError: if no such array is stored, or not all of it.
        """
        key = self.keys[index]
        with _explained(self.path), self._reader.stored(key) as stored:
            self._check(key, stored)
            numbers = stored.read()
        floats: Floats = numbers.astype(np.float64 if numbers.dtype.itemsize == 8 else np.float32, copy=False)
        return floats

    def _check(self, key: str, stored: StoredVectors) -> None:
        if stored.dtype.kind != "f" or stored.dtype.itemsize > 8:
            raise InputError(f"{self.path}: {key!r} holds {stored.dtype}, expected float16, float32 or float64")
        if not 1 <= len(stored.shape) <= 3 or min(stored.shape) < 0:
            raise InputError(
                f"{self.path}: {key!r} has the shape {stored.shape}, expected (tokens, width), (layers, tokens, width) "
                "or (width,)"
            )
        size = math.prod(stored.shape) * stored.dtype.itemsize
        if size > max(_SMALL, _MAX_RATIO * stored.num_bytes):
            raise InputError(
                f"{self.path}: {key!r} is said to have {size:,} bytes and has {stored.num_bytes:,}: is it damaged?"
            )

    def tokens(self, index: int) -> list[str] | None:
        """The tokens of a sentence; None if the file does not have them, or not one a vector."""
        key = self.keys[index]
        with _explained(self.path):
            tokens = self._reader.tokens(key)
            if tokens is not None:
                return tokens
            text = self._sentences.get(key) if self.is_numbered else key
            # lone names are keys too, so the count has to prove that these are the tokens
            tokens = [] if text is None else _tokens_of(text)
            with self._reader.stored(key) as stored:
                *_, num_tokens, _ = (0, 0, *stored.shape)
        return tokens if tokens and len(tokens) == num_tokens else None

    def sentence(self, index: int) -> str | None:
        """The text of a sentence, its tokens with spaces between them; None if the file does not have it."""
        tokens = self.tokens(index)
        return None if tokens is None else " ".join(tokens)

    @cached_property
    def _sentences(self) -> dict[str, str]:
        return self._reader.sentences()

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _tokens_of(key: str) -> list[str]:
    """The tokens that a sentence as a key stands for.

    They are parted by spaces, or, with signs that HDF5 has another use for written out, by tabs
    (https://github.com/HIT-SCIR/ELMoForManyLangs).
    """
    tokens = key.split("\t") if "\t" in key else key.split()
    return [token.replace("$period$", ".").replace("$backslash$", "/") for token in tokens]


def open_embeddings(path: str | Path) -> Embeddings:
    """Open a vector file.

    Read are the files of lowtide, and those of AllenNLP's ``elmo`` command, of bilm-tf's ``dump_bilm_embeddings``, of
    ELMoForManyLangs and of SeqVec. Keys that are numbers are sentences in that order; other keys stand in the file's
    order, which in HDF5 is that of their names.

    Args:
        path: its ending says which format.

    Raises:
        MissingPathError: if it is not there.
        InputError: if the ending is unknown, or it is no such file, or a damaged one.
    """
    path = Path(path)
    check_output(path)
    with _explained(path):
        reader = _READERS[path.suffix.lower()](path)
        try:
            return Embeddings(path, reader)
        except InputError:
            reader.close()
            raise


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except LowtideError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise MissingPathError(f"{path} is not there") from None
    except Exception as error:  # the libraries raise whatever was handy
        reason = (str(error).strip("'\"") or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} cannot be read ({reason}): is it damaged, or only half copied?") from None
