"""Vectors as HDF5, in the layout of the published tools.

Dataset ``"i"`` per sentence from 0, (layers, tokens, width) or (tokens, width), float32, with the
tokens as attribute ``tokens``; ``sentence_to_index`` is one JSON object from the sentence (its
tokens joined by spaces) to its number as a string, as AllenNLP's ``elmo`` command writes it. Of
equal sentences it names the last; the numbered datasets hold each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from lowtide.embeddings.base import Vectors
from lowtide.text.tokenize import Sentence


class _Writer:
    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._count = 0
        self._index: dict[str, str] = {}

    def write(self, sentence: Sentence, vectors: Vectors) -> None:
        key = str(self._count)
        dataset = self._file.create_dataset(key, data=vectors, track_times=False)
        # a type of variable length that may hold no token at all
        dataset.attrs.create("tokens", data=[_storable(t) for t in sentence], dtype=h5py.string_dtype())
        self._index[" ".join(sentence)] = key
        self._count += 1

    def close(self) -> None:
        text = _storable(json.dumps(self._index))
        self._file.create_dataset("sentence_to_index", data=[text], dtype=h5py.string_dtype(), track_times=False)


def _storable(text: str) -> str:
    """HDF5 strings end at a zero byte and are UTF-8: what has no place in them is replaced."""
    return text.replace("\0", "\ufffd").encode("utf-8", errors="replace").decode("utf-8")


@contextmanager
def open_writer(path: Path) -> Iterator[_Writer]:
    """Write vectors to an HDF5 file, sentence by sentence."""
    # the newest layout of the file lets an attribute hold the tokens of a very long sentence
    with h5py.File(path, "w", libver="latest") as file:
        writer = _Writer(file)
        yield writer
        writer.close()
