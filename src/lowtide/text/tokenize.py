"""Text to tokens, with offsets: words, characters, or what stands between spaces.

A tokenizer is named by a `TokenizerConfig`, which goes into the model's ``config.json`` with the
version of what does the cutting: embedding cuts as training did. NFC belongs here: a text is
normalised and then cut, offsets count in the text as it was given.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
import unicodedata
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

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
    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the tokens of a text in NFC begin and end; white space is never part of a token."""

    def tokenize(self, text: str) -> list[Token]:
        """The tokens of a text with their offsets."""
        if unicodedata.is_normalized("NFC", text):
            return [Token(text[start:end], start, end) for start, end in self.spans(text)]
        normal, starts, ends = _normalised(text)
        return [Token(normal[start:end], starts[start], ends[end - 1]) for start, end in self.spans(normal)]

    def split(self, text: str) -> Sentence:
        """The tokens of a text without offsets: the same texts, sooner."""
        normal = unicodedata.normalize("NFC", text)
        return [normal[start:end] for start, end in self.spans(normal)]


def _normalised(text: str) -> tuple[str, list[int], list[int]]:
    """A text in NFC, and from where to where each of its characters stood before."""
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for match in _composable().finditer(text):
        piece, (start, end) = unicodedata.normalize("NFC", match[0]), match.span()
        pieces.append(piece)
        if piece == match[0]:
            starts += range(start, end)
            ends += range(start + 1, end + 1)
        else:
            starts += [start] * len(piece)
            ends += [end] * len(piece)
    return "".join(pieces), starts, ends


@functools.cache
def _composable() -> re.Pattern[str]:
    """Pieces that NFC changes one by one: a letter with its marks, a Korean syllable in its parts."""
    korean = r"[\u1100-\u1112\uac00-\ud7a3][\u1161-\u1175]?[\u11a8-\u11c2]?"
    return re.compile(rf"\s|(?:{korean}|\S)[{_marks()}]*")


class PatternTokenizer(Tokenizer):
    """Tokens are the matches of one pattern."""

    def __init__(self, pattern: re.Pattern[str], config: TokenizerConfig) -> None:
        self.config = config
        self._pattern = pattern

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the pattern matches."""
        return (match.span() for match in self._pattern.finditer(text))

    def split(self, text: str) -> Sentence:
        """The matches of the pattern."""
        return self._pattern.findall(unicodedata.normalize("NFC", text))


class ChineseWords(Tokenizer):
    """Chinese words, cut by rjieba; what is not Chinese is cut by the pattern for other words.

    rjieba knows no English: it would cut ``U.S.`` and ``didn't`` at every mark.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        import rjieba  # loads its dictionary

        self.config = config
        self._cut: Callable[[str], list[str]] = rjieba.cut
        self._other = word_pattern()
        self._chinese = re.compile(
            r"([\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)"
            rf"[{_marks()}]*"  # the last word takes the marks that follow
        )

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Runs of Chinese characters by rjieba, everything between them by the word pattern."""
        end = 0
        for run in self._chinese.finditer(text):
            yield from self._between(text, end, run.start())
            *words, _ = self._cut(run[1])
            start, end = run.span()
            for word in words:
                yield start, start + len(word)
                start += len(word)
            yield start, end
        yield from self._between(text, end, len(text))

    def _between(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        return (match.span() for match in self._other.finditer(text, start, end))


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
def _character() -> str:
    """The pattern of one character as a reader counts: with its marks; an emoji with all its parts."""
    marks = rf"[{_marks()}\U0001f3fb-\U0001f3ff]*"  # these five are the colours of skin
    flag = r"[\U0001f1e6-\U0001f1ff]{2}"
    return rf"(?:{flag}|\S){marks}(?:(?<=\u200d)[^\w\s]{marks})*"


@functools.cache
def word_pattern() -> re.Pattern[str]:
    """Words of languages that put spaces between them, cut as the Penn Treebank cuts English.

    ``didn't`` gives ``did n't``, ``bank's`` gives ``bank 's``; ``U.S.``, ``3.5``, ``1,000`` and
    ``well-known`` stay whole; every other mark is a token of its own, an emoji is one.
    """
    letter = rf"[\w{_marks()}]"
    negation = rf"[nN]['’][tT](?!{letter})"
    return re.compile(
        rf"""
          (?:[^\W\d_]\.){{2,}}[{_marks()}]*                   # U.S.
        | {negation}                                         # the second half of didn't
        | ['’](?:s|re|ve|ll|d|m|S|RE|VE|LL|D|M)(?!{letter})  # 's
        | \d+(?:[.,:/]\d+)+[{_marks()}]*                     # 1,000.50, 12:30
        | {letter}+?(?={negation})                           # the first half of didn't
        | {letter}+(?:[-‐·]{letter}+)*                       # well-known
        | (?:\.{{2,}} | -{{2,}} | —+ | …+)[{_marks()}]*       # ... -- ——
        | {_character()}
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


_UNSPACED = {  # languages that put no spaces between words, and the letters they are known by
    "ja": "\u3040-\u30ff",
    "th": "\u0e00-\u0e7f",
    "lo": "\u0e80-\u0eff",
    "bo": "\u0f00-\u0fff",
    "my": "\u1000-\u109f",
    "km": "\u1780-\u17ff",
}
_PATTERN_VERSION = "1"
_MAKERS: dict[str, Callable[[TokenizerConfig], Tokenizer]] = {
    "words": _words,
    "characters": lambda config: PatternTokenizer(re.compile(_character()), config),
    "whitespace": lambda config: PatternTokenizer(re.compile(r"\S+"), config),
}


def _version(name: str, language: str) -> str:
    if name == "words" and language == "zh":
        return f"{_PATTERN_VERSION}, rjieba {importlib.metadata.version('rjieba')}"
    return _PATTERN_VERSION


_OTHER_NAMES = {
    **dict.fromkeys(("chinese", "zho", "chi", "cmn", "yue", "cn"), "zh"),
    **dict.fromkeys(("english", "eng"), "en"),
    **{"japanese": "ja", "jpn": "ja", "thai": "th", "tha": "th", "khm": "km", "lao": "lo", "mya": "my", "bod": "bo"},
}


def make_tokenizer(name: str, *, language: str) -> Tokenizer:
    """A tokenizer in the version that is installed.

    Args:
        name: ``words``, ``characters`` or ``whitespace``.
        language: ``en``, ``zh``, ...; a region or a script behind it (``zh-CN``) changes nothing.

    Raises:
        InputError: if the name is unknown, or no words of this language can be found.
    """
    if name not in _MAKERS:
        raise InputError(f"unknown tokenizer {name!r}.{nearest(name, _MAKERS)} Known: {', '.join(_MAKERS)}")
    language = re.split("[-_]", language.strip().lower())[0]
    language = _OTHER_NAMES.get(language, language)
    if not re.fullmatch("[a-z]{2,3}", language):
        raise InputError(f"unknown language {language!r}: expected its code, such as en, zh, de, or auto")
    return _MAKERS[name](TokenizerConfig(cast(TokenizerName, name), language, _version(name, language)))


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
    parts its words by spaces, and those that do not are known by their letters.

    Args:
        texts: lines or sentences.
        sample: how many characters to look at.
    """
    seen: Counter[str] = Counter()
    for text in texts:
        seen.update(text[:sample])
        sample -= len(text)
        if sample <= 0:
            break
    letters = {character: count for character, count in seen.items() if character.isalpha()}

    def share(letter_range: str) -> float:
        is_inside = re.compile(f"[{letter_range}]").match
        return sum(count for letter, count in letters.items() if is_inside(letter)) / sum(letters.values())

    if not letters:
        return "en"
    for language, letter_range in _UNSPACED.items():
        # Japanese is written in Chinese characters too
        if share(letter_range) > (0.05 if language == "ja" else 0.2):
            return language
    return "zh" if share("\u3400-\u9fff") > 0.2 else "en"


def is_cut_by_spaces(text: str) -> bool:
    """Whether somebody has put spaces between Chinese words: ``潮水 退了 就``."""
    return re.search(r"[\u3400-\u9fff] +\[?[\u3400-\u9fff]", text) is not None
