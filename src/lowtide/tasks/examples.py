"""Labelled sentences, and where each of them stands: every complaint names its line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lowtide.embeddings.inputs import as_token_lists
from lowtide.errors import InputError
from lowtide.text.tokenize import Sentence


@dataclass(frozen=True)
class Place:
    """Where something stands: lines of a file, or an item of a list that was handed over."""

    source: str
    """The file; or what a Python program calls the item: ``sentences[3]``."""
    lines: Sequence[int] = ()
    """One a token, or one of all of them, counted from 1; none of what is not in a file."""

    def __str__(self) -> str:
        return f"{self.source}:{self.lines[0]}" if self.lines else self.source

    @property
    def whole(self) -> str:
        """The file; or what a Python program calls the list."""
        return self.source if self.lines else self.source.partition("[")[0]

    def token(self, number: int) -> str:
        """Where a token stands."""
        return f"{self.source}:{self.lines[number]}" if number < len(self.lines) else f"{self}, token {number}"


def text_of(text: Any, place: Place) -> str | Sentence:
    """A text as it is, or its tokens as a list.

    Raises:
        InputError: if it is neither, with its place.
    """
    try:
        return text if isinstance(text, str) else as_token_lists([text])[0]
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


@dataclass(frozen=True)
class TaggedSentence:
    """A sentence with a tag for every token."""

    tokens: Sentence
    tags: list[str]
    place: Place


@dataclass(frozen=True)
class LabelledText:
    """A text, or its tokens, with a label."""

    text: str | Sentence
    label: str
    place: Place


@dataclass(frozen=True)
class LabelledPair:
    """Two texts, or their tokens, and what they are to each other: a label, or a score."""

    first: str | Sentence
    second: str | Sentence
    answer: str | float
    place: Place
