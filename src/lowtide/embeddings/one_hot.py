"""The first rung: every word a symbol of its own, and no two of them related."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from lowtide.embeddings.base import Vectors
from lowtide.embeddings.inputs import Texts, as_sentences
from lowtide.embeddings.type_vectors import TypeEmbedding, check_numbers, read_type_config, type_config
from lowtide.errors import InputError, require
from lowtide.progress import progress
from lowtide.text.opening import CutOptions, open_texts
from lowtide.text.vocabulary import Vocabulary


class OneHot(TypeEmbedding):
    """A vector as long as the vocabulary with a single 1 in it; of a type that is not known, at ``<UNK>``.

    ::

        one_hot = OneHot.train(["corpus.txt"])
        one_hot.embed_sparse(sentences)         # one matrix of SciPy a sentence; embed gives the same, dense
    """

    kind = "one_hot"

    @classmethod
    def train(
        cls,
        texts: Sequence[str | Path],
        *,
        options: CutOptions | None = None,
        min_count: int = 2,
        max_types: int | None = None,
        lowercase: bool = False,
    ) -> OneHot:
        """Count the types of a text.

        Args:
            texts: files, globs, folders, ``-``.
            options: how they are to be read and cut.
            min_count: rarer types get no symbol.
            max_types: how many do, at most.
            lowercase: whether upper and lower case are one.

        Raises:
            InputError: if a file cannot be read, there is no token, or a number is out of range.
        """
        check_numbers(min_count=min_count, max_types=max_types)
        opened = open_texts(texts, options or CutOptions())
        counts: Counter[str] = Counter()
        num_sentences = 0
        with progress("counting", total=None, unit="sentences") as bar:
            for sentence in opened.sentences:
                tokens = opened.tokenizer.split(sentence.text)
                counts.update(token.lower() for token in tokens) if lowercase else counts.update(tokens)
                num_sentences += bool(tokens)
                bar.advance(1)
        if not counts:
            raise InputError(f"{opened.corpus.name} holds no token: is it empty, or blank?")
        vocabulary = Vocabulary.from_counts(
            counts, num_sentences=num_sentences, min_count=min_count, max_types=max_types
        )
        return cls(type_config("one_hot", opened.tokenizer.config, lowercase=lowercase), vocabulary)

    @classmethod
    def open(cls, folder: Path) -> OneHot:
        """Open a folder; see `lowtide.load`."""
        return cls(*read_type_config(folder, cls.kind))

    @property
    def width(self) -> int:
        """The size of the vocabulary."""
        return len(self.vocabulary)

    def rows(self, indices: NDArray[np.int64]) -> Vectors:
        """(tokens,) to (tokens, width)."""
        rows = np.zeros((len(indices), self.width), dtype=np.float32)
        rows[np.arange(len(indices)), indices] = 1
        return rows

    @overload
    def embed_sparse(self, sentences: str) -> Any: ...
    @overload
    def embed_sparse(self, sentences: Texts) -> list[Any]: ...
    def embed_sparse(self, sentences: Texts | str) -> Any:
        """As `embed`, as sparse matrices: a (tokens, width) ``scipy.sparse.csr_array`` a sentence.

        Args:
            sentences: a list of texts or of lists of tokens; one bare text is one sentence.

        Raises:
            InputError: if something is neither a text nor tokens.
            MissingExtraError: if SciPy is not installed.
        """
        if isinstance(sentences, str):
            return self.embed_sparse([sentences])[0]
        sparse = require("scipy.sparse", extra="word2vec")
        found = []
        for sentence in as_sentences(sentences, self.tokenizer):
            indices = self.indices(sentence)
            ones = np.ones(len(indices), dtype=np.float32)
            shape = (len(indices), self.width)
            found.append(sparse.csr_array((ones, indices, np.arange(len(indices) + 1)), shape=shape))
        return found

    def _digest(self) -> bytes:
        return b""

    def _save_vectors(self, folder: Path) -> None:
        """There are none."""
