"""How a type is spelled in numbers: ELMo's byte table, or one symbol a type.

The byte table is the published one (bilm-tf, ``UnicodeCharsVocabulary``): a token is the marks
and bytes ``[word start, bytes…, word end, pad…]``, and 1 is added to every id, so that 0 is free
for "no token here".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lowtide.errors import ConfigError
from lowtide.text.vocabulary import SENTENCE_END, SENTENCE_START, Vocabulary

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
    """One symbol a type, for small alphabets (residues, events, characters): its vocabulary index.

    A type outside the vocabulary is spelled ``<UNK>``.
    """

    row_length = 1

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self.num_characters = len(vocabulary)

    def char_ids(self, types: Sequence[str]) -> CharIds:
        """The rows of these types: (types, 1)."""
        return self._vocabulary.indices(types).astype(np.int32)[:, None]

    def is_truncated(self, type_: str) -> bool:
        """A symbol is never cut."""
        return False
