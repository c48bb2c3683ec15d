"""What a user may hand in as sentences, and what is made of it."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, overload

from lowtide.errors import InputError
from lowtide.text.tokenize import Sentence, Tokenizer, make_tokenizer


class Texts(Protocol):
    """A list (or a tuple) of sentences, each a text or its tokens; a str alone is none, to a type checker too."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[str | Sequence[str]]: ...
    def __contains__(self, value: object, /) -> bool: ...  # a str looks for nothing but str


def as_sentence(text: str | Sequence[str], tokenizer: Tokenizer) -> Sentence:
    """A text is cut by the model's tokenizer; a list of tokens is taken as it is.

    Raises:
        InputError: if it is neither.
    """
    if isinstance(text, str):
        return tokenizer.split(text)
    if isinstance(text, (list, tuple)) and all(isinstance(token, str) for token in text):
        return list(text)
    strangers = [type(t).__name__ for t in text if not isinstance(t, str)] if isinstance(text, Iterable) else []
    found = f"a {type(text).__name__} of {strangers[0]}" if strangers else type(text).__name__
    raise InputError(f"found {found}, expected a sentence: a str, or a list of str (its tokens)")


def listed(texts: Any) -> list[Any]:
    """Several of something, as a list.

    Raises:
        InputError: if it is one of something.
    """
    if not hasattr(texts, "__iter__"):
        raise InputError(f"found {type(texts).__name__}, expected a text, or a list of sentences")
    return list(texts)


def as_sentences(texts: Texts, tokenizer: Tokenizer) -> list[Sentence]:
    """N in, n out, order kept. Nothing is split into several sentences.

    Warns when a list looks like the tokens of one sentence, or a model of characters is given words.

    Raises:
        InputError: if something in the list is neither a text nor a list of tokens.
    """
    given = listed(texts)
    sentences = [as_sentence(text, tokenizer) for text in given]
    if len(sentences) >= 3 and all(
        isinstance(text, str) and len(sentence) == 1 for text, sentence in zip(given, sentences, strict=True)
    ):
        warnings.warn(
            f'{len(sentences)} texts of one token each: a tokenised sentence goes in as [["The", "cat"]]',
            stacklevel=3,
        )
    number, first = next(((n, text) for n, text in enumerate(given) if not isinstance(text, str)), (0, []))
    if tokenizer.config.name == "characters" and any(len(tokenizer.split(token)) > 1 for token in first):
        warnings.warn(
            f"sentence {number} is a list of words, and this model reads characters: give a sentence as one str, or as "
            "a list of its characters",
            stacklevel=3,
        )
    return sentences


class CutsText(ABC):
    """What has a tokenizer, and takes texts as well as tokens."""

    @property
    @abstractmethod
    def tokenizer(self) -> Tokenizer:
        """What its training text was cut with."""

    @overload
    def tokenize(self, sentences: str) -> Sentence: ...
    @overload
    def tokenize(self, sentences: Texts) -> list[Sentence]: ...
    def tokenize(self, sentences: Texts | str) -> list[Sentence] | Sentence:
        """The tokens behind the rows of what `embed` returns for the same argument."""
        if isinstance(sentences, str):
            return as_sentence(sentences, self.tokenizer)
        return as_sentences(sentences, self.tokenizer)


def as_token_lists(sentences: Iterable[Iterable[str]]) -> list[Sentence]:
    """Sentences that are tokens already, of any kind of list; a str is taken for its characters, as in old libraries.

    Raises:
        InputError: if something is no sentence.
    """
    given: Any = sentences
    if isinstance(sentences, Iterable):
        given = [list(sentence) if isinstance(sentence, Iterable) else sentence for sentence in sentences]
    return as_sentences(given, make_tokenizer("whitespace", language="en"))


@dataclass(frozen=True)
class MarkedSentence:
    """A sentence in which some neighbouring tokens are marked."""

    tokens: Sentence
    first: int
    last: int
    """Exclusive."""

    @property
    def word(self) -> str:
        """The marked tokens, as one text."""
        return " ".join(self.tokens[self.first : self.last])


def parse_marked(text: str | Sentence, tokenizer: Tokenizer) -> MarkedSentence:
    """Read the brackets of a text like ``"He sat on the [bank] of the river."``.

    In a list of tokens, the marked one stands in brackets itself: ``["潮水", "[退了]"]``.

    Raises:
        InputError: if not exactly one stretch is marked, or it holds no token.
    """
    if not isinstance(text, str):
        tokens = as_sentence(text, tokenizer)
        marked = [n for n, t in enumerate(tokens) if len(t) > 2 and t[0] == "[" and t[-1] == "]"]
        if len(marked) != 1:
            raise InputError(f"found {len(marked)} marked tokens, expected one like '[bank]'")
        place = marked[0]
        return MarkedSentence([*tokens[:place], tokens[place][1:-1], *tokens[place + 1 :]], place, place + 1)
    start, end = text.find("["), text.find("]")
    if text.count("[") != 1 or text.count("]") != 1 or end < start:
        raise InputError("mark one word with brackets: 'He sat on the [bank] of the river.'")
    plain = text[:start] + text[start + 1 : end] + text[end + 1 :]
    end -= 1
    tokens_ = tokenizer.tokenize(plain)
    inside = [n for n, token in enumerate(tokens_) if token.start < end and token.end > start]
    if not inside:
        raise InputError("there is no token between the brackets: mark a word, like '[bank]'")
    return MarkedSentence([token.text for token in tokens_], inside[0], inside[-1] + 1)
