"""Reading a folder of vectors; see `lowtide.embeddings.outputs.memory_map` for what lies in it.

Files are read where they are asked for, and not mapped: what was read of a map counts as memory in use.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowtide.config import from_json
from lowtide.embeddings.outputs.base import EmbeddedSentence, VectorKind
from lowtide.embeddings.outputs.keys import NumberedKeys
from lowtide.embeddings.outputs.npy import StoredArray
from lowtide.embeddings.outputs.texts import StoredTexts
from lowtide.errors import ConfigError, InputError
from lowtide.text.tokenize import Sentence

INDEX = "index.json"
FORMAT = "lowtide vectors"
VERSION = 1
_LONGEST_INDEX = 1 << 16
"""Bytes."""


@dataclass(frozen=True)
class Index:
    """What stands in ``index.json``."""

    format: str
    format_version: int
    kind: VectorKind
    num_sentences: int
    num_tokens: int
    first_key: int | None
    """The number of the first sentence, where they count up."""
    has_spans: bool


class _Stored:
    """The vectors of a sentence, not read yet."""

    def __init__(self, vectors: StoredArray, start: int, stop: int, *, is_pooled: bool) -> None:
        self._vectors, self._rows, self._is_pooled = vectors, (start, stop), is_pooled
        *layers, width = vectors.shape[1:]
        self.shape: tuple[int, ...] = (*layers, width) if is_pooled else (*layers, stop - start, width)
        self.dtype = vectors.dtype
        self.num_bytes = (stop - start) * int(np.prod(vectors.shape[1:])) * self.dtype.itemsize

    def read(self) -> NDArray[Any]:
        rows = self._vectors.read(*self._rows)
        if self._is_pooled:
            pooled: NDArray[Any] = rows[0]
            return pooled
        return np.ascontiguousarray(rows.swapaxes(0, 1)) if rows.ndim == 3 else rows  # (layers, tokens, width)


class FolderReader:
    """Reads any sentence of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._files = folder, ExitStack()
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        index = _read_index(self._folder)
        self.kind = index.kind
        num_axes = 2 if self.kind.num_layers is None else 3
        self.vectors = self._array("vectors.npy", dtypes=("<f4", "<f2"), num_axes=(num_axes,))
        self.starts = self._array("sentences.npy")
        self.texts = self._texts("tokens")
        self.spans_array = self._array("spans.npy", num_axes=(2,)) if index.has_spans else None
        if index.first_key is None:
            self._names: StoredTexts | None = self._texts("keys")
            self.keys: Sequence[str] = self._names.all()
        else:
            self.keys = NumberedKeys(index.first_key, index.num_sentences)
        self._check(index)

    def _array(self, name: str, **expected: Any) -> StoredArray:
        return self._files.enter_context(closing(StoredArray(self._folder / name, **expected)))

    def _texts(self, name: str) -> StoredTexts:
        return self._files.enter_context(closing(StoredTexts(self._folder, name)))

    def _check(self, index: Index) -> None:
        """All files have to be of one folder."""
        num_rows = len(self) if self.kind.is_pooled else len(self.texts)
        layers = [] if self.kind.num_layers is None else [self.kind.num_layers]
        shape = (num_rows, *layers, self.kind.width)
        is_one = (
            len(self.starts) == len(self.keys) + 1 == index.num_sentences + 1
            and len(self.texts) == index.num_tokens
            and self.starts.read(0, 1)[0] == 0
            and self.starts.read(len(self), len(self) + 1)[0] == len(self.texts)
            and (self.vectors.shape, self.vectors.dtype.name) == (shape, self.kind.dtype)
            and (self.spans_array is None or self.spans_array.shape == (len(self.texts), 2))
        )
        if not is_one:
            raise InputError(f"{self._folder}: its files do not belong together: is it damaged, or only half copied?")

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {key: position for position, key in enumerate(self.keys)}

    def _position(self, key: str) -> int:
        return int(key) - self.keys.numbers.start if isinstance(self.keys, NumberedKeys) else self._positions[key]

    def _range(self, position: int) -> tuple[int, int]:
        """The tokens of a sentence."""
        start, stop = self.starts.read(position, position + 2).tolist()
        if not 0 <= start <= stop <= len(self.texts):
            raise InputError(f"{self._folder} has no rows {start:,} to {stop:,}: is it damaged?")
        return start, stop

    @contextmanager
    def stored(self, key: str) -> Iterator[_Stored]:
        """What is stored under a key."""
        yield self._stored(self._position(key))

    def _stored(self, position: int) -> _Stored:
        rows = (position, position + 1) if self.kind.is_pooled else self._range(position)
        return _Stored(self.vectors, *rows, is_pooled=self.kind.is_pooled)

    def tokens(self, key: str) -> Sentence:
        """The tokens of a sentence."""
        return self.texts.read(*self._range(self._position(key)))

    def spans(self, key: str) -> list[tuple[int, int]] | None:
        """Where they stand in the raw text."""
        return self._spans(*self._range(self._position(key)))

    def _spans(self, start: int, stop: int) -> list[tuple[int, int]] | None:
        if self.spans_array is None:
            return None
        spans = self.spans_array.read(start, stop)
        return None if (spans < 0).any() else [(begin, end) for begin, end in spans.tolist()]

    def sentences(self) -> dict[str, str]:
        """There is no index of them."""
        return {}

    def __iter__(self) -> Iterator[EmbeddedSentence]:
        for position, key in enumerate(self.keys):
            tokens = self._range(position)
            vectors = self._stored(position).read()
            yield EmbeddedSentence(key, self.texts.read(*tokens), vectors, self._spans(*tokens), self.kind.is_pooled)

    def close(self) -> None:
        """Let go of the files."""
        self._files.close()


def _read_index(folder: Path) -> Index:
    path = folder / INDEX
    if folder.is_dir() and not path.is_file():
        raise InputError(f"{path} is not there: is a part of the folder lost?")
    with path.open("rb") as file:
        content = json.loads(file.read(_LONGEST_INDEX))
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is not of lowtide: is {folder} a folder of vectors?")
    version = content.get("format_version")
    if version != VERSION:
        raise InputError(f"{path} has version {version} of the format, expected {VERSION}: update lowtide?")
    try:
        return from_json(Index, content, where=str(path))
    except ConfigError as error:
        raise InputError(str(error)) from None
