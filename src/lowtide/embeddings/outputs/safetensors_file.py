"""Vectors as safetensors: tensor ``"i"`` per sentence from 0, with all tokens in the metadata.

A file is a length of 8 bytes, a JSON object that says where each tensor is, and the numbers. The object comes first and
is known last, so the numbers wait in a file beside: for a moment they take twice their room on disk. The library reads
no object above 100 MB, which is some hundred thousand sentences; larger corpora want another format.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from lowtide.embeddings.outputs.base import EmbeddedSentence, VectorKind, file_beside
from lowtide.embeddings.outputs.keys import storable, twice
from lowtide.errors import InputError

_LARGEST_HEADER = 100_000_000
"""Bytes that the library reads (https://github.com/huggingface/safetensors, ``MAX_HEADER_SIZE``)."""
_METADATA = "__metadata__"
_NAMES = {"float16": "F16", "float32": "F32"}
_DTYPES = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}


# -- writing -------------------------------------------------------------------------------------


def check_key(key: str) -> None:
    """Refuse what cannot be the name of a tensor.

    Raises:
        InputError: if it cannot.
    """
    if key == _METADATA:
        raise InputError(f"{key} cannot be a key of a safetensors file: use keys by line, or .npz")


class _Writer:
    def __init__(self, numbers: IO[bytes]) -> None:
        self._numbers = numbers
        self._size = 0
        self._tensors: dict[str, str] = {}
        self._tokens: list[str] = []
        self._spans: list[str] = []
        self._has_spans = False
        self._header_size = 1000

    def write(self, sentence: EmbeddedSentence) -> None:
        key, vectors = storable(sentence.key), sentence.vectors
        check_key(key)
        if key in self._tensors:
            raise twice(sentence.key)
        place = {"dtype": _NAMES[VectorKind.of(sentence).dtype], "shape": vectors.shape}
        entry = json.dumps({**place, "data_offsets": [self._size, self._size + vectors.nbytes]}, separators=(",", ":"))
        tokens = _json(sentence.tokens)
        spans = "null" if sentence.spans is None else _json(sentence.spans)
        self._header_size += sum(map(_size_in_json, (key, tokens, spans))) + len(entry)
        if self._header_size > _LARGEST_HEADER:
            raise InputError(
                f"a .safetensors file holds no more than these {len(self._tensors):,} sentences: use .h5, .parquet or "
                ".mmap"
            )
        self._tensors[key] = entry
        self._tokens.append(tokens)
        self._spans.append(spans)
        self._has_spans |= sentence.spans is not None
        self._numbers.write(np.ascontiguousarray(vectors, vectors.dtype.newbyteorder("<")).tobytes())
        self._size += vectors.nbytes

    def save(self, path: Path) -> None:
        """Write the file: what is where, and then the numbers."""
        metadata = {"format": "lowtide vectors", "format_version": "1", "tokens": f"[{','.join(self._tokens)}]"}
        if self._has_spans:
            metadata["spans"] = f"[{','.join(self._spans)}]"
        entries = [f"{_quoted(key)}:{entry}" for key, entry in self._tensors.items()]
        header = f"{{{','.join([f'{_quoted(_METADATA)}:{_json(metadata)}', *entries])}}}".encode()
        header += b" " * (-len(header) % 8)
        with path.open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            self._numbers.seek(0)
            shutil.copyfileobj(self._numbers, file, 1 << 20)


def _json(value: object) -> str:
    """Without spaces; letters as they are, but for those that are none."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if _is_unicode(text) else json.dumps(value, separators=(",", ":"))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _size_in_json(text: str) -> int:
    """Bytes of a text within a text of JSON, and what stands around it."""
    return len(_quoted(text).encode()) + 2


@contextmanager
def open_writer(path: Path) -> Iterator[_Writer]:
    """Write vectors to a safetensors file, sentence by sentence."""
    with file_beside(path) as numbers:
        writer = _Writer(numbers)
        yield writer
        writer.save(path)


# -- reading -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Stored:
    """A tensor that has not been read yet."""

    path: Path
    key: str
    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    num_bytes: int

    def read(self) -> NDArray[Any]:
        size = math.prod(self.shape) * self.dtype.itemsize
        with self.path.open("rb") as file:
            file.seek(self.start)
            content = file.read(self.num_bytes)
        if len(content) != size:
            raise InputError(
                f"{self.path}: {self.key!r} is said to have {size:,} bytes and has another number of them: "
                "is it damaged?"
            )
        return np.frombuffer(content, self.dtype).reshape(self.shape)


class _Reader:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = path.stat().st_size
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if size <= min(_LARGEST_HEADER, self._size - 8) else None
        if not isinstance(header, dict):
            raise InputError(f"{path} has no header of {size:,} bytes: is it a safetensors file, or damaged?")
        self._start = 8 + size
        self._metadata = header.pop(_METADATA, {})
        self._tensors = header
        self.keys = sorted(header, key=self._offsets)
        self._positions = {key: position for position, key in enumerate(self.keys)}

    def _offsets(self, key: str) -> tuple[int, int]:
        """Where the numbers of a tensor begin and end."""
        entry = self._tensors[key]
        offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
        if _are_numbers(offsets, length=2):
            start, end = offsets
            if start <= end <= self._size - self._start:
                return start, end
        raise self._lost(key)

    def _lost(self, key: str) -> InputError:
        return InputError(f"{self._path}: {key!r} has no place in the file: is it damaged, or only half copied?")

    @contextmanager
    def stored(self, key: str) -> Iterator[_Stored]:
        start, end = self._offsets(key)
        entry = self._tensors[key]
        if not _are_numbers(entry.get("shape")) or not isinstance(entry.get("dtype"), str):
            raise self._lost(key)
        if entry["dtype"] not in _DTYPES:
            raise InputError(f"{self._path}: {key!r} holds {entry['dtype']}, expected F16, F32 or F64")
        dtype = np.dtype(_DTYPES[entry["dtype"]])
        yield _Stored(self._path, key, self._start + start, tuple(entry["shape"]), dtype, end - start)

    def tokens(self, key: str) -> list[str] | None:
        tokens = self._of("tokens", self._tokens, key)
        if tokens is None or all(isinstance(token, str) for token in tokens):
            return tokens
        raise self._foreign("tokens")

    def spans(self, key: str) -> list[tuple[int, int]] | None:
        spans = self._of("spans", self._spans, key)
        if spans is None or all(_are_numbers(span, length=2) for span in spans):
            return None if spans is None else [(start, end) for start, end in spans]
        raise self._foreign("spans")

    def _of(self, name: str, lists: list[Any] | None, key: str) -> list[Any] | None:
        found = None if lists is None else lists[self._positions[key]]
        if found is None or isinstance(found, list):
            return found
        raise self._foreign(name)

    @cached_property
    def _tokens(self) -> list[Any] | None:
        return self._lists("tokens")

    @cached_property
    def _spans(self) -> list[Any] | None:
        return self._lists("spans")

    def _lists(self, name: str) -> list[Any] | None:
        """One a sentence, from the metadata."""
        if not isinstance(self._metadata, dict) or not isinstance(text := self._metadata.get(name), str):
            return None
        lists = json.loads(text)
        if not isinstance(lists, list) or len(lists) != len(self.keys):
            raise self._foreign(name)
        return lists

    def _foreign(self, name: str) -> InputError:
        return InputError(f"{self._path}: its {name} are not those of its tensors: did something else write them?")

    def sentences(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        """There is nothing to let go of."""


def _are_numbers(value: Any, *, length: int | None = None) -> TypeGuard[list[int]]:
    """Whether it is a list of whole numbers from 0 on."""
    is_list = isinstance(value, list) and length in (None, len(value))
    return is_list and all(type(number) is int and number >= 0 for number in value)


def open_reader(path: Path) -> _Reader:
    """Read the tensors of a safetensors file, one by one."""
    return _Reader(path)
