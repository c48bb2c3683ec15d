r"""The types that a language model can predict, sorted by falling count.

The file is ``vocabulary.txt``: one ``type TAB count`` a line, ``<S> </S> <UNK>`` first, then by
falling counts; tab, line feed, carriage return and backslash are written ``\t \n \r \\``, and a
lone surrogate, which UTF-8 cannot hold, is written ``\ud800``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowtide.errors import MissingPathError, ModelError
from lowtide.files import write_text

SENTENCE_START = "<S>"
SENTENCE_END = "</S>"
UNKNOWN = "<UNK>"
SPECIALS = (SENTENCE_START, SENTENCE_END, UNKNOWN)
START_INDEX, END_INDEX, UNKNOWN_INDEX = range(3)
FOREIGN_SPECIALS = ("<bos>", "<eos>", "<oov>")
"""What ELMoForManyLangs calls the same three."""
_HIDDEN = "\udc00"
"""Begins what is added to a word that cannot be found: a lone surrogate, which no text holds."""


class Vocabulary:
    """Types with their counts; the index of a type is its rank.

    Args:
        types: the specials first, then by falling count.
        counts: occurrences in the training text, as many as types. The count of ``<UNK>`` is the
            number of tokens whose type was cut, that of both boundaries the number of sentences.

    Raises:
        ModelError: if the specials are missing or a type stands twice.
    """

    def __init__(self, types: Sequence[str], counts: Sequence[int]) -> None:
        if tuple(types[:3]) not in (SPECIALS, FOREIGN_SPECIALS):
            raise ModelError(f"a vocabulary begins with {' '.join(SPECIALS)}, found {list(types[:3])}")
        self.types = list(types)
        self.counts: NDArray[np.int64] = np.asarray(counts, dtype=np.int64)
        self._index = {type_: index for index, type_ in enumerate(self.types)}
        if len(self._index) != len(self.types) or len(self.counts) != len(self.types):
            raise ModelError("a type stands twice in the vocabulary, or types and counts differ in number")

    @classmethod
    def from_counts(
        cls,
        counts: Mapping[str, int],
        *,
        num_sentences: int,
        num_tokens: int | None = None,
        min_count: int = 1,
        max_types: int | None = None,
    ) -> Vocabulary:
        """Keep the types seen at least ``min_count`` times, at most ``max_types`` of them.

        Types of equal count are ordered by their letters, so the same text gives the same
        vocabulary whatever the order of its files.

        Args:
            counts: occurrences of every type.
            num_sentences: how many sentences there were: the count of both boundaries.
            num_tokens: all tokens, if ``counts`` does not hold every one of them.
            min_count: rarer types are cut.
            max_types: the specials not counted.
        """
        kept = [(t, n) for t, n in counts.items() if n >= min_count and t not in SPECIALS]
        kept.sort(key=lambda item: (-item[1], item[0]))
        kept = kept[:max_types]
        total = sum(counts.values()) if num_tokens is None else num_tokens
        num_cut = total - sum(count for _, count in kept)
        types = [*SPECIALS, *(type_ for type_, _ in kept)]
        return cls(types, [num_sentences, num_sentences, num_cut, *(count for _, count in kept)])

    @classmethod
    def from_words(
        cls, words: Sequence[str], specials: Sequence[str] = SPECIALS
    ) -> tuple[Vocabulary, NDArray[np.int64]]:
        """The vocabulary of a model from elsewhere, which has no counts: they are all 0.

        Of a word that stands twice, the last place is the one that is found, as in the published readers.

        Args:
            words: in the order of the model's rows.
            specials: what they call sentence start, sentence end and unknown word.

        Returns:
            The vocabulary, specials first, and the row of every type in it: (types,).

        Raises:
            ModelError: if a special is not among the words.
        """
        rows = {word: row for row, word in enumerate(words)}
        missing = [special for special in specials if special not in rows]
        if missing:
            raise ModelError(f"the {len(words):,} words have no {missing[0]}, expected {' '.join(specials)} among them")
        first = [rows[special] for special in specials]
        is_special = set(first)
        others = [row for row in range(len(words)) if row not in is_special]
        types = [words[row] if rows[words[row]] == row else f"{words[row]}{_HIDDEN}{row}" for row in others]
        types = [*specials, *types]
        return cls(types, [0] * len(types)), np.array([*first, *others], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.types)

    def __contains__(self, type_: str) -> bool:
        return type_ in self._index

    def index(self, type_: str) -> int:
        """The index of a type; that of ``<UNK>`` if it is not known."""
        return self._index.get(type_, UNKNOWN_INDEX)

    def indices(self, types: Iterable[str]) -> NDArray[np.int64]:
        """The index of every one of these types."""
        index = self._index
        return np.fromiter((index.get(type_, UNKNOWN_INDEX) for type_ in types), dtype=np.int64)

    def shown(self, index: int) -> str:
        """A type for people: without what keeps a word that stands twice apart, see `from_words`."""
        return self.types[index].partition(_HIDDEN)[0]

    def save(self, path: Path) -> None:
        """Write ``vocabulary.txt``."""
        lines = (f"{escape(t)}\t{n}\n" for t, n in zip(self.types, self.counts, strict=True))
        write_text(path, "".join(lines))

    @classmethod
    def load(cls, path: Path) -> Vocabulary:
        """Read ``vocabulary.txt``.

        Raises:
            MissingPathError: if it is not there.
            ModelError: if a line is not ``type TAB count``; the message has its number.
        """
        types, counts = [], []
        try:
            with path.open(encoding="utf-8", newline="\n") as lines:
                for number, line in enumerate(lines, start=1):
                    type_, tab, count = line.rstrip("\n").rpartition("\t")
                    if not tab or not re.fullmatch("[0-9]{1,18}", count):
                        raise ModelError(f"{path}:{number}: expected a type, a tab and a count")
                    types.append(unescape(type_))
                    counts.append(int(count))
        except (FileNotFoundError, NotADirectoryError):
            raise MissingPathError(f"{path} is not there: the model folder is incomplete") from None
        except UnicodeDecodeError as error:
            raise ModelError(f"{path} is not UTF-8 ({error.reason}): is it damaged?") from None
        try:
            return cls(types, counts)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_ESCAPED = re.compile(r"\\([\\tnr]|u[0-9a-f]{4})")
_PLAIN = {"\\": "\\", "t": "\t", "n": "\n", "r": "\r"}


def escape(type_: str) -> str:
    """Write a type so that it takes one field of one line."""
    if type_.isalnum():
        return type_
    return type_.translate(_ESCAPES).encode("utf-8", errors="backslashreplace").decode("utf-8")


def unescape(field: str) -> str:
    """Undo `escape`; a backslash that begins no escape stands for itself."""
    if "\\" not in field:
        return field
    return _ESCAPED.sub(lambda match: _PLAIN.get(match[1]) or chr(int(match[1][1:], 16)), field)
