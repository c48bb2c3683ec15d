"""Vectors as a folder of plain arrays that are mapped into memory: any token of any sentence without reading the rest.

``name.mmap/`` holds, of all sentences one after the other:

====================  ==========================================================================================
``vectors.npy``       (tokens, width) or (tokens, layers, width), float32 or float16; pooled (sentences, ...)
``sentences.npy``     (sentences + 1): the number of the token with which each sentence begins, and of all tokens
``tokens.utf8``       the tokens, with nothing between them
``tokens.npy``        (tokens + 1): the byte with which each token begins, and of all bytes
``spans.npy``         (tokens, 2): where each stands in its raw text, if that is known; -1 where it is not
``keys.utf8``         the keys with nothing between them, unless they are numbers that count up
``keys.npy``          (sentences + 1): as ``tokens.npy``
``index.json``        what all of this is; written last
====================  ==========================================================================================

Layers stand within a token, not around a sentence as in the other formats, so that the file can grow. Lone surrogates,
which files of text with damage in them give, are kept (Python's ``surrogatepass``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import numpy as np

from lowtide.config import to_json
from lowtide.embeddings.outputs.base import EmbeddedSentence, VectorKind, explained
from lowtide.embeddings.outputs.keys import KeySequence, NumberedKeys
from lowtide.embeddings.outputs.memory_map_reader import FORMAT, INDEX, VERSION, FolderReader, Index
from lowtide.embeddings.outputs.npy import GrowingArray
from lowtide.embeddings.outputs.texts import GrowingTexts

_NO_VECTORS = VectorKind("float32", None, 0, False)
"""The kind of a folder without a sentence."""


class FolderWriter:
    """Writes the files of a folder, of sentences that are all of one kind."""

    def __init__(self, folder: Path, files: ExitStack) -> None:
        self._folder, self._files = folder, files
        self._keys = KeySequence()
        self._kind: VectorKind | None = None
        self._sentences = self._array("sentences.npy")
        self._sentences.append(np.zeros(1, np.int64))
        self._tokens = self._texts("tokens")
        self._vectors: GrowingArray | None = None
        self._spans: GrowingArray | None = None
        self._names: GrowingTexts | None = None

    def _array(self, name: str, dtype: str = "int64", row_shape: tuple[int, ...] = ()) -> GrowingArray:
        return self._files.enter_context(closing(GrowingArray(self._folder / name, dtype, row_shape)))

    def _texts(self, name: str) -> GrowingTexts:
        return self._files.enter_context(closing(GrowingTexts(self._folder, name)))

    def write(self, sentence: EmbeddedSentence) -> None:
        """Add the next sentence.

        Raises:
            InputError: if its key stands already, or its vectors are not as those before.
        """
        vectors = sentence.vectors
        kind = VectorKind.of(sentence)
        array = self._vectors_of(kind)
        self._add_keys([sentence.key])
        if kind.is_pooled:
            vectors = vectors[None]  # (1, width) or (1, layers, width)
        elif kind.num_layers is not None:
            vectors = vectors.transpose(1, 0, 2)  # (tokens, layers, width)
        array.append(vectors)
        if sentence.spans is not None:
            self._spans_so_far().append(np.array(sentence.spans, np.int64).reshape(-1, 2))
        elif self._spans is not None:
            self._spans.fill(len(sentence.tokens), -1)
        self._tokens.append(sentence.tokens)
        self._sentences.append(np.array([len(self._tokens)]))

    def extend(self, reader: FolderReader) -> None:
        """Add all sentences of another folder, as fast as files are copied.

        Raises:
            InputError: if one of its keys stands already, or its vectors are not as those before.
        """
        if not len(reader):
            return
        array = self._vectors_of(reader.kind)
        self._add_keys(reader.keys)
        array.extend(reader.vectors)
        if reader.spans_array is not None:
            self._spans_so_far().extend(reader.spans_array)
        elif self._spans is not None:
            self._spans.fill(len(reader.texts), -1)
        self._sentences.extend(reader.starts, skip=1, plus=len(self._tokens))
        self._tokens.extend(reader.texts)

    def _vectors_of(self, kind: VectorKind) -> GrowingArray:
        if self._kind is not None:
            self._kind.require(kind)
        if self._vectors is None:
            row_shape = (kind.width,) if kind.num_layers is None else (kind.num_layers, kind.width)
            self._kind, self._vectors = kind, self._array("vectors.npy", kind.dtype, row_shape)
        return self._vectors

    def _spans_so_far(self) -> GrowingArray:
        if self._spans is None:
            self._spans = self._array("spans.npy", row_shape=(2,))
            self._spans.fill(len(self._tokens), -1)
        return self._spans

    def _add_keys(self, keys: Sequence[str]) -> None:
        if isinstance(keys, NumberedKeys) and self._keys.goes_on(keys):
            return
        for key in keys:
            self._keys.add(key)
            if self._names is None and not self._keys.is_counted:
                self._names = self._texts("keys")
                for earlier in self._keys.counted:
                    self._names.append([earlier])
            if self._names is not None:
                self._names.append([key])

    def finish(self) -> None:
        """Complete every file."""
        vectors = self._vectors or self._array("vectors.npy", "float32", (0,))
        for file in (vectors, self._sentences, self._tokens, self._spans, self._names):
            if file is not None:
                file.finish()
        index = Index(
            format=FORMAT,
            format_version=VERSION,
            kind=self._kind or _NO_VECTORS,
            num_sentences=self._keys.count,
            num_tokens=len(self._tokens),
            first_key=self._keys.first if self._names is None else None,
            has_spans=self._spans is not None,
        )
        self._files.close()
        (self._folder / INDEX).write_text(json.dumps(to_json(index), indent=2) + "\n", encoding="utf-8", newline="\n")


@contextmanager
def open_writer(folder: Path) -> Iterator[FolderWriter]:
    """Write vectors to a folder that is not there yet, sentence by sentence; at the end its files are complete."""
    folder.mkdir()
    with ExitStack() as files:
        writer = FolderWriter(folder, files)
        yield writer
        writer.finish()


def concatenate(folders: Sequence[Path], target: Path) -> None:
    """Put folders together into a new one: the sentences of the first, then those of the second, and so on.

    Raises:
        InputError: if a key stands in two of them, or they are of different kinds, or one is damaged.
    """
    with open_writer(target) as writer:
        for folder in folders:
            with explained(folder), closing(open_reader(folder)) as reader:
                writer.extend(reader)


def open_reader(folder: Path) -> FolderReader:
    """Read the sentences of a folder, one by one."""
    return FolderReader(folder)


def read_sentences(folder: Path) -> Iterator[EmbeddedSentence]:
    """All sentences of a folder in their order, with vectors as they are stored.

    Raises:
        MissingPathError: if it is not there.
        InputError: if it is no such folder, or a damaged one.
    """
    with explained(folder), closing(open_reader(folder)) as reader:
        yield from reader
