"""Text to tokens, with offsets: words, characters, or what stands between spaces.

A tokenizer is named by a `TokenizerConfig`, which goes into the model's ``config.json`` with the
version of what does the cutting: embedding cuts as training did. NFC belongs here: tokens are
normalised, offsets count in the text as it was given.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
import unicodedata
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lowtide.errors import InputError, nearest

TokenizerName = Literal["words", "characters", "whitespace"]
Sentence = list[str]
"""The tokens of one sentence."""


class Token(NamedTuple):
    """One token: its text in NFC, and where it stood in the text given."""

    text: str
    start: int
    """In characters of the text as it was given."""
    end: int
    """Exclusive."""


@dataclass(frozen=True)
class TokenizerConfig:
    """Which tokenizer, for which language, in which version."""

    name: TokenizerName
    language: str
    """What the text is in: ``en``, ``zh``, ... Only ``words`` depends on it."""
    version: str


class Tokenizer(ABC):
    """Cuts a text into tokens."""

    config: TokenizerConfig

    @abstractmethod
    def tokenize(self, text: str) -> list[Token]:
        """The tokens of a text with their offsets; white space is never part of a token."""

    def split(self, text: str) -> Sentence:
        """The tokens of a text without offsets: the same texts, sooner."""
        return [token.text for token in self.tokenize(text)]


class PatternTokenizer(Tokenizer):
    """Tokens are the matches of one pattern."""

    def __init__(self, pattern: re.Pattern[str], config: TokenizerConfig) -> None:
        self.config = config
        self._pattern = pattern

    def tokenize(self, text: str) -> list[Token]:
        """The matches of the pattern with their offsets."""
        return [Token(unicodedata.normalize("NFC", match[0]), *match.span()) for match in self._pattern.finditer(text)]

    def split(self, text: str) -> Sentence:
        """The matches of the pattern."""
        if unicodedata.is_normalized("NFC", text):
            return self._pattern.findall(text)
        return super().split(text)


class ChineseWords(Tokenizer):
    """Chinese words, cut by rjieba; what is not Chinese is cut by the pattern for other words.

    rjieba knows no English: it would cut ``U.S.`` and ``didn't`` at every mark.
    """

    _CHINESE = re.compile(r"[\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")

    def __init__(self, config: TokenizerConfig) -> None:
        import rjieba  # loads its dictionary

        self.config = config
        self._cut: Callable[[str], list[str]] = rjieba.cut
        self._other = word_pattern()

    def tokenize(self, text: str) -> list[Token]:
        """Runs of Chinese characters by rjieba, everything between them by the word pattern."""
        tokens: list[Token] = []
        end = 0
        for run in self._CHINESE.finditer(text):
            tokens += self._between(text, end, run.start())
            start = run.start()
            for word in self._cut(run[0]):
                tokens.append(Token(unicodedata.normalize("NFC", word), start, start + len(word)))
                start += len(word)
            end = run.end()
        return tokens + self._between(text, end, len(text))

    def _between(self, text: str, start: int, end: int) -> list[Token]:
        return [
            Token(unicodedata.normalize("NFC", match[0]), *match.span())
            for match in self._other.finditer(text, start, end)
        ]


@functools.cache
def _marks() -> str:
    """All combining marks and joiners, as the inside of a character class.

    Python's own class of word characters leaves them out, and would cut Hindi at every vowel sign.
    """
    points = [p for p in (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0)) if _is_mark(p)]
    runs: list[list[int]] = []
    for point in [0x200C, 0x200D, *points]:
        if runs and point == runs[-1][1] + 1:
            runs[-1][1] = point
        else:
            runs.append([point, point])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in runs)


def _is_mark(point: int) -> bool:
    return unicodedata.category(chr(point))[0] == "M"


@functools.cache
def word_pattern() -> re.Pattern[str]:
    """Words of languages that put spaces between them, cut as the Penn Treebank cuts English.

    ``didn't`` gives ``did n't``, ``bank's`` gives ``bank 's``; ``U.S.``, ``3.5``, ``1,000`` and
    ``well-known`` stay whole; every other mark is a token of its own.
    """
    letter = rf"[\w{_marks()}]"
    return re.compile(
        rf"""
          (?:[^\W\d_]\.){{2,}}                        # U.S.
        | n['’]t\b                                    # the second half of didn't
        | ['’](?:s|re|ve|ll|d|m|S|RE|VE|LL|D|M)\b     # 's
        | \d+(?:[.,:/]\d+)+                           # 1,000.50, 12:30
        | {letter}+?(?=n['’]t\b)                      # the first half of didn't
        | {letter}+(?:[-‐·]{letter}+)*                # well-known
        | \.{{2,}} | -{{2,}} | —+ | …+                # ... -- ——
        | \S
        """,
        re.VERBOSE,
    )


def _words(config: TokenizerConfig) -> Tokenizer:
    if config.language == "zh":
        return ChineseWords(config)
    if config.language in _UNSPACED:
        raise InputError(
            f"words of {config.language!r} are not parted by spaces, and no word list for it is here: "
            "use --tokenizer characters, or cut the text yourself and use --tokenizer whitespace"
        )
    return PatternTokenizer(word_pattern(), config)


_UNSPACED = {"ja", "th", "lo", "km", "my", "bo"}
_PATTERN_VERSION = "1"
_MAKERS: dict[str, Callable[[TokenizerConfig], Tokenizer]] = {
    "words": _words,
    "characters": lambda config: PatternTokenizer(re.compile(rf"\S[{_marks()}]*"), config),
    "whitespace": lambda config: PatternTokenizer(re.compile(r"\S+"), config),
}


def _version(name: str, language: str) -> str:
    if name == "words" and language == "zh":
        return f"{_PATTERN_VERSION}, rjieba {importlib.metadata.version('rjieba')}"
    return _PATTERN_VERSION


def make_tokenizer(name: TokenizerName, *, language: str) -> Tokenizer:
    """A tokenizer in the version that is installed.

    Raises:
        InputError: if the name is unknown, or no words of this language can be found.
    """
    if name not in _MAKERS:
        raise InputError(f"unknown tokenizer {name!r}.{nearest(name, _MAKERS)} Known: {', '.join(_MAKERS)}")
    return _MAKERS[name](TokenizerConfig(name, language, _version(name, language)))


def open_tokenizer(config: TokenizerConfig) -> Tokenizer:
    """The tokenizer a model was trained with; warns if the version here is another one."""
    tokenizer = make_tokenizer(config.name, language=config.language)
    if tokenizer.config.version != config.version:
        warnings.warn(
            f"the model's text was cut by {config.name} version {config.version}, "
            f"here is version {tokenizer.config.version}: some words may be cut differently",
            stacklevel=2,
        )
    return tokenizer


def detect_language(texts: Iterable[str], *, sample: int = 200_000) -> str:
    """``zh`` if a fifth of the letters are Chinese characters and no kana is near, else ``en``.

    Only what tells the tokenizers apart matters here: ``en`` stands for every language that
    parts its words by spaces.

    Args:
        texts: lines or sentences.
        sample: how many characters to look at.
    """
    letters = chinese = kana = 0
    for text in texts:
        letters += sum(map(str.isalpha, text))
        chinese += sum("\u3400" <= character <= "\u9fff" for character in text)
        kana += sum("\u3040" <= character <= "\u30ff" for character in text)
        if letters >= sample:
            break
    if kana * 20 > letters:
        return "ja"
    return "zh" if chinese * 5 > letters else "en"


def is_cut_by_spaces(text: str) -> bool:
    """Whether somebody has put spaces between Chinese words: ``潮水 退了 就``."""
    return re.search(r"[\u3400-\u9fff] +\[?[\u3400-\u9fff]", text) is not None
