"""How a type is spelled in numbers: ELMo's byte table, one symbol a type, or the letters of a dictionary.

The byte table is the published one (bilm-tf, ``UnicodeCharsVocabulary``): a token is the marks
and bytes ``[word start, bytes…, word end, pad…]``, and 1 is added to every id, so that 0 is free
for "no token here".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lowtide.errors import ConfigError, ModelError
from lowtide.text.vocabulary import (
    END_INDEX,
    FOREIGN_SPECIALS,
    SENTENCE_END,
    SENTENCE_START,
    START_INDEX,
    UNKNOWN_INDEX,
    Vocabulary,
)

# The table after the shift by one: 1-256 are the bytes 0-255.
NO_TOKEN = 0
SENTENCE_START_CHARACTER = 257
SENTENCE_END_CHARACTER = 258
WORD_START = 259
WORD_END = 260
WORD_PAD = 261
NUM_BYTE_CHARACTERS = 262
"""The size of the byte table, its row for "no token here" included."""

CharIds = NDArray[np.int32]
"""(types, chars)."""


class Spelling(Protocol):
    """A way to write types as rows of character ids."""

    @property
    def num_characters(self) -> int:
        """How many different character ids there are; ids are below this."""

    @property
    def row_length(self) -> int:
        """How many ids one type takes: the ``chars`` axis."""

    def char_ids(self, types: Sequence[str]) -> CharIds:
        """The rows of these types: (types, chars)."""

    @property
    def marks(self) -> tuple[str, str]:
        """The types that stand before and behind a sentence."""

    @property
    def symbols(self) -> Sequence[str]:
        """What the ids stand for where the model itself says it; nothing for the byte table."""

    def is_truncated(self, type_: str) -> bool:
        """Whether the row of this type does not hold all of it."""


class ByteSpelling:
    """ELMo's byte table: a type is its UTF-8 bytes between a word start and a word end.

    At most ``max_characters - 2`` bytes are kept, cut after that byte even inside a character, as
    the published models do (50 - 2 = 48 bytes: 16 Chinese characters). Lone surrogates vanish.
    ``<S>`` and ``</S>`` have spellings of their own.

    Args:
        max_characters: the length of a row, both word marks included.
    """

    def __init__(self, max_characters: int = 50) -> None:
        if max_characters < 3:
            raise ConfigError(f"max_characters is {max_characters}: a row needs two marks and a byte")
        self.row_length = max_characters
        self.num_characters = NUM_BYTE_CHARACTERS
        self.marks = (SENTENCE_START, SENTENCE_END)
        self.symbols: Sequence[str] = ()

    def char_ids(self, types: Sequence[str]) -> CharIds:
        """The rows of these types: (types, max_characters), ids 1 to 261."""
        rows = np.full((len(types), self.row_length), WORD_PAD, dtype=np.int32)
        rows[:, 0] = WORD_START
        for row, type_ in zip(rows, types, strict=True):
            spelled = self._spelled(type_)
            row[1 : 1 + len(spelled)] = spelled
            row[1 + len(spelled)] = WORD_END
        return rows

    def _spelled(self, type_: str) -> NDArray[np.int32]:
        if type_ == SENTENCE_START:
            return np.array([SENTENCE_START_CHARACTER], dtype=np.int32)
        if type_ == SENTENCE_END:
            return np.array([SENTENCE_END_CHARACTER], dtype=np.int32)
        raw = type_.encode("utf-8", errors="ignore")[: self.row_length - 2]
        return np.frombuffer(raw, dtype=np.uint8).astype(np.int32) + 1

    def is_truncated(self, type_: str) -> bool:
        """Whether the type has more bytes than a row holds."""
        # a character has at most four bytes, so short types need no encoding
        limit = self.row_length - 2
        return len(type_) * 4 > limit and len(type_.encode("utf-8", errors="ignore")) > limit


class SymbolSpelling:
    """One symbol a type, for small alphabets (residues, events, characters) and for words: its number.

    A type that has none is spelled ``<UNK>``.

    Args:
        vocabulary: of the symbols; a type's number is its index.
        max_letters: a longer type is cut before it is looked up; None: never.
        more: types that have a number behind those of the vocabulary.
        folds_case: whether a type without a number takes that of another writing of it: in lower case, with a capital,
            in capitals, the first of these that has one.

    Raises:
        ModelError: if one of ``more`` has a number already.
    """

    row_length = 1

    def __init__(
        self,
        vocabulary: Vocabulary,
        max_letters: int | None = None,
        *,
        more: Sequence[str] = (),
        folds_case: bool = False,
    ) -> None:
        self._max_letters = max_letters
        self._folds_case = folds_case
        self.marks = (vocabulary.types[START_INDEX], vocabulary.types[END_INDEX])
        self._vocabulary = vocabulary
        self._more = {type_: number for number, type_ in enumerate(more, start=len(vocabulary))}
        if len(self._more) != len(more) or any(type_ in vocabulary for type_ in more):
            raise ModelError("a word stands twice among those that have a vector")
        self.symbols: Sequence[str] = [*vocabulary.types, *more]
        self.num_characters = len(self.symbols)

    def char_ids(self, types: Sequence[str]) -> CharIds:
        """The rows of these types: (types, 1)."""
        kept = (type_ if type_ in self.marks else type_[: self._max_letters] for type_ in types)
        return np.fromiter(map(self._number, kept), dtype=np.int32, count=len(types))[:, None]

    def knows(self, type_: str) -> bool:
        """Whether the type has a number, or another writing of it has."""
        return self._number(type_) != UNKNOWN_INDEX

    def _number(self, type_: str) -> int:
        for writing in _writings(type_) if self._folds_case else (type_,):
            number = self._more.get(writing) or self._vocabulary.index(writing)
            if number != UNKNOWN_INDEX:
                return number
        return UNKNOWN_INDEX

    def is_truncated(self, type_: str) -> bool:
        """Whether the type has more letters than are looked up."""
        return self._max_letters is not None and len(type_) > self._max_letters


def _writings(type_: str) -> Iterator[str]:
    yield type_
    yield type_.lower()
    yield type_.capitalize()
    yield type_.title()
    yield type_.upper()


_START, _END, _UNKNOWN = FOREIGN_SPECIALS
LETTER_PAD = "<pad>"
LETTER_MARKS = (_START, _END, _UNKNOWN, LETTER_PAD, "<bow>", "<eow>")
"""What a dictionary of letters has beside its letters."""


class LetterSpelling:
    """The letters of a dictionary, behind the number of the word itself: that of ELMoForManyLangs (Che et al. 2018).

    A token is cut to ``max_characters - 2`` letters (Unicode characters, not bytes) before it is looked up in any way.
    It begins with what the dictionary calls the *end* of a word and ends with what it calls the beginning: so it was
    in training. ``<bos>`` and ``<eos>`` have letters of their own.

    Args:
        letters: every id's letter, `LETTER_MARKS` among them.
        max_characters: the length of a row, both word marks included, the word not.
        vocabulary: of the words; None: rows have no word in front.

    Raises:
        ModelError: if a mark is missing or a letter stands twice.
    """

    def __init__(self, letters: Sequence[str], max_characters: int, vocabulary: Vocabulary | None) -> None:
        self._ids = {letter: number for number, letter in enumerate(letters)}
        missing = [mark for mark in LETTER_MARKS if mark not in self._ids]
        if missing:
            raise ModelError(f"the letters have no {missing[0]}, expected {' '.join(LETTER_MARKS)} among them")
        if len(self._ids) != len(letters):
            raise ModelError("a letter stands twice among the letters")
        self._vocabulary = vocabulary
        self._max_letters = max_characters - 2
        self.row_length = max_characters + (vocabulary is not None)
        self.num_characters = max(len(letters), len(vocabulary or ()))
        self.marks = (_START, _END)
        self.symbols: Sequence[str] = [*letters, *(vocabulary.types if vocabulary else ())]

    def char_ids(self, types: Sequence[str]) -> CharIds:
        """The rows of these types: (types, row_length)."""
        kept = [type_ if type_ in self.marks else type_[: self._max_letters] for type_ in types]
        rows = np.full((len(kept), self._max_letters + 2), self._ids[LETTER_PAD], dtype=np.int32)
        unknown = self._ids[_UNKNOWN]
        for row, type_ in zip(rows, kept, strict=True):
            letters = [type_] if type_ in self.marks else type_
            ids = [self._ids["<eow>"], *(self._ids.get(letter, unknown) for letter in letters), self._ids["<bow>"]]
            row[: len(ids)] = ids
        if self._vocabulary is None:
            return rows
        return np.concatenate([self._vocabulary.indices(kept).astype(np.int32)[:, None], rows], axis=1)

    def is_truncated(self, type_: str) -> bool:
        """Whether the type has more characters than a row holds."""
        return len(type_) > self._max_letters
