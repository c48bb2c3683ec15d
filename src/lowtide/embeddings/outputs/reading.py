"""Reading vector files of every format; nothing that stands in one is believed before it is checked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lowtide.embeddings.outputs.base import StoredVectors, VectorReader, explained
from lowtide.embeddings.outputs.formats import format_of
from lowtide.embeddings.outputs.keys import NumberedKeys, number_of
from lowtide.errors import InputError

Floats = NDArray[np.floating[Any]]
"""float32 or float64."""

_MAX_RATIO = 100
"""How much smaller than its numbers an array may be stored."""
_SMALL = 1 << 26
"""So many bytes do no harm."""


class Embeddings:
    """The vectors of a file, read sentence by sentence.

    Use it in a ``with``, or `close` it::

        with open_embeddings("vectors.h5") as vectors:
            len(vectors)        # how many sentences
            vectors[0]          # (tokens, width), or (layers, tokens, width)
            vectors.tokens(0)   # ["The", "tide"], or None if the file has no tokens
            vectors.spans(0)    # [(0, 3), (4, 8)] in the raw text, or None
    """

    def __init__(self, path: Path, reader: VectorReader) -> None:
        self.path = path
        self._reader = reader
        keys = reader.keys
        self.is_numbered = isinstance(keys, NumberedKeys) or all(number_of(key) is not None for key in keys)
        """Whether the keys are the numbers of the sentences; if not, they are names or the sentences themselves."""
        if not isinstance(keys, NumberedKeys):
            keys = sorted(keys, key=int) if self.is_numbered else keys
            if len(set(keys)) < len(keys):
                raise InputError(f"{path} holds two arrays of one name: is it damaged?")
        missing = _first_missing(keys) if self.is_numbered else None
        if missing is not None:
            raise InputError(f"{path} holds no sentence {missing}, but sentence {keys[-1]}: is a part of it lost?")
        self.keys = keys
        """What the sentences are called, in the order of the file."""

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
        with explained(self.path), self._reader.stored(key) as stored:
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
        with explained(self.path):
            tokens = self._reader.tokens(key)
            if tokens is not None:
                return tokens
            text = self._sentences.get(key) if self.is_numbered else key
            # lone names are keys too, so the count has to prove that these are the tokens
            tokens = [] if text is None else _tokens_of(text)
            with self._reader.stored(key) as stored:
                *_, num_tokens, _ = (0, 0, *stored.shape)
        return tokens if tokens and len(tokens) == num_tokens else None

    def spans(self, index: int) -> list[tuple[int, int]] | None:
        """Where the tokens of a sentence stand in its raw text; None if the file does not say.

        Returns:
            Start and end of each, in characters, the end exclusive.

        Raises:
            InputError: if there are more or fewer of them than tokens.
        """
        key = self.keys[index]
        with explained(self.path):
            spans = self._reader.spans(key)
            if spans is None:
                return None
            tokens = self._reader.tokens(key) or []
            if len(spans) != len(tokens) or not all(0 <= start <= end for start, end in spans):
                raise InputError(f"{self.path}: the offsets of {key!r} are not those of its tokens: is it damaged?")
            return spans

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


def _first_missing(keys: Sequence[str]) -> int | None:
    if isinstance(keys, NumberedKeys):
        return 0 if keys and keys.numbers.start else None
    return next((i for i, key in enumerate(keys) if int(key) != i), None)


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
    open_reader = format_of(path).open_reader
    with explained(path):
        reader = open_reader(path)
        try:
            return Embeddings(path, reader)
        except InputError:
            reader.close()
            raise
