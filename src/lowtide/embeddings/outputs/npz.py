"""Vectors as a NumPy archive: array ``"i"`` per sentence from 0, read with ``numpy.load``."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lowtide.embeddings.base import Vectors
from lowtide.text.tokenize import Sentence


class _Writer:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._count = 0

    def write(self, sentence: Sentence, vectors: Vectors) -> None:
        # written one by one, as numpy.savez would have all arrays in memory; a name alone as the
        # entry has no date in it, so that equal vectors make equal files
        with self._archive.open(f"{self._count}.npy", "w", force_zip64=True) as entry:
            np.lib.format.write_array(entry, np.ascontiguousarray(vectors), allow_pickle=False)
        self._count += 1


@contextmanager
def open_writer(path: Path) -> Iterator[_Writer]:
    """Write vectors to a NumPy archive, sentence by sentence."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        yield _Writer(archive)
