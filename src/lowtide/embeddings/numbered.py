"""What is embedded into a file: one sentence after the other, each with its key, out of files or of any iterable."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, Protocol

from lowtide.embeddings.inputs import as_sentence
from lowtide.embeddings.outputs.keys import KeySequence
from lowtide.errors import InputError
from lowtide.text.corpus import Corpus, RawSentence
from lowtide.text.lines import OPENERS, STANDARD_INPUT
from lowtide.text.opening import CUT_SAMPLE, warn_of_spaces, warn_of_tables
from lowtide.text.tokenize import Sentence, Tokenizer, make_tokenizer

Keys = Literal["line", "id"]
Spans = list[tuple[int, int]]

_COUNTING_SECONDS = 1.0
"""To find out how long compressed texts are; then what was seen of them has to do."""


class NumberedSentence(NamedTuple):
    """A sentence on its way into a file."""

    key: str
    """Its number from 0 on, or its id."""
    tokens: Sentence
    spans: Spans | None
    """Where every token stands in the raw text, in characters; None if nobody asked, or there is no raw text."""
    starts_document: bool
    file: str
    """Empty if it is of no file."""
    line: int
    """Of the file; if it is of none, which sentence it is."""

    @property
    def place(self) -> str:
        """For errors."""
        return f"{self.file}:{self.line}" if self.file else f"sentence {self.line}"


class Numbered(Protocol):
    """Sentences that can be read from the beginning, once or more than once."""

    def sentences(self) -> Iterator[NumberedSentence]:
        """All of them, in order.

        Raises:
            InputError: if one cannot be read, has no id where ids are the keys, or has one that stands already.
        """

    def describe(self) -> dict[str, Any]:
        """What can be told without reading: another description is another text."""

    def share_read(self, last: NumberedSentence) -> float | None:
        """How much of the text has been read when this sentence comes, up to 1; None if that cannot be known."""

    def log_repairs(self) -> None:
        """Say what was found in the sentences read so far and not expected."""


class Cutter:
    """Cuts texts into tokens.

    Args:
        tokenizer: of raw text.
        has_spans: whether to note where the tokens stand.
    """

    def __init__(self, tokenizer: Tokenizer, *, has_spans: bool) -> None:
        self.tokenizer = tokenizer
        self._has_spans = has_spans

    def cut(self, text: str) -> tuple[Sentence, Spans | None]:
        """The tokens of a text, and where they stand in it."""
        if not self._has_spans:
            return self.tokenizer.split(text), None
        tokens = self.tokenizer.tokenize(text)
        return [token.text for token in tokens], [(token.start, token.end) for token in tokens]

    def of_residues(self) -> Cutter:
        """What cuts a record of FASTA: one residue a token."""
        return Cutter(make_tokenizer("characters", language="en"), has_spans=self._has_spans)

    def take(self, sentence: str | Sequence[str]) -> tuple[Sentence, Spans | None]:
        """A text is cut, and a list of tokens is taken as it is."""
        if isinstance(sentence, str):
            return self.cut(sentence)
        tokens = as_sentence(sentence, self.tokenizer)
        return tokens, [] if self._has_spans and not tokens else None


class NumberedLines:
    """The lines of files, blank ones too, or the records of FASTA files.

    With ids as keys, a record of FASTA is called by the first word of its header; a line of any other file is
    ``id<TAB>text``, and its spans count within the text.
    """

    def __init__(self, inputs: Sequence[str | Path], cutter: Cutter, *, keys: Keys, encoding: str) -> None:
        self._corpus = Corpus(inputs, encoding=encoding)
        if keys == "line":
            warn_of_tables(self._corpus)
        self._cutter, self._residues = cutter, cutter.of_residues()
        self._keys = keys

    def sentences(self) -> Iterator[NumberedSentence]:
        """See `Numbered`."""
        known = KeySequence()
        raws = self._corpus.numbered()
        first = list(itertools.islice(raws, CUT_SAMPLE))
        warn_of_spaces(self._cutter.tokenizer, [raw.text for raw in first])
        for number, raw in enumerate(itertools.chain(first, raws)):
            key, text = (str(number), raw.text) if self._keys == "line" else _identified(raw)
            if self._keys == "id":
                _note(known, key, f"{raw.file}:{raw.line}")
            cutter = self._cutter if raw.id is None else self._residues
            yield NumberedSentence(key, *cutter.cut(text), raw.starts_document, raw.file, raw.line)

    def describe(self) -> dict[str, Any]:
        """The number and the sizes of the files: not their names, which may be others on another machine."""
        return {
            "files": len(self._corpus.files),
            "bytes": self._corpus.size_bytes(),
            "encoding": self._corpus.encoding,
        }

    def share_read(self, last: NumberedSentence) -> float | None:
        """Reads the first lines once more, to count their bytes."""
        files = self._corpus.files
        if any(file == STANDARD_INPUT or not Path(file).is_file() for file in files):  # a pipe is read once
            return None
        place = files.index(last.file)
        sizes = _unpacked_bytes(files)
        with _opened(last.file) as stream:
            read = sum(len(line) for line in itertools.islice(stream, last.line))
        return min(1.0, (sum(sizes[:place]) + read) / max(sum(sizes), 1))

    def log_repairs(self) -> None:
        """See `Corpus.log_repairs`."""
        self._corpus.log_repairs()


class NumberedItems:
    """Any iterable: of texts and lists of tokens, or, with ids as keys, of pairs of an id and such a sentence."""

    def __init__(self, items: Iterable[Any], cutter: Cutter, *, keys: Keys) -> None:
        self._items = items
        self._cutter = cutter
        self._keys = keys

    def sentences(self) -> Iterator[NumberedSentence]:
        """See `Numbered`; every sentence stands alone."""
        known = KeySequence()
        for number, item in enumerate(self._items):
            key, sentence = str(number), item
            if self._keys == "id":
                if not isinstance(item, (tuple, list)) or len(item) != 2 or not isinstance(item[0], str):
                    raise InputError(f"sentence {number} has no id: with keys='id' give pairs of an id and a sentence")
                key, sentence = item
                _note(known, key, f"sentence {number}")
            yield NumberedSentence(key, *self._cutter.take(sentence), True, "", number)

    def describe(self) -> dict[str, Any]:
        """Nothing is known of an iterable; its sentences are looked at as they come."""
        return {}

    def share_read(self, last: NumberedSentence) -> float | None:
        """Known where the iterable has a length."""
        try:
            count = len(self._items)  # type: ignore[arg-type]  # many have one
        except TypeError:
            return None
        return min(1.0, (last.line + 1) / max(count, 1))

    def log_repairs(self) -> None:
        """Nothing is repaired."""


def number(
    texts: str | Path | Iterable[Any], cutter: Cutter, *, keys: Keys, encoding: str
) -> NumberedLines | NumberedItems:
    """Files, if a path or paths are given; else sentences.

    Raises:
        MissingPathError: if a file is not there.
        InputError: if it is nothing that can be read, or it is not clear whether a list of str is texts or files.
    """
    if keys not in ("line", "id"):
        raise InputError(f"unknown keys {keys!r}, expected line or id")
    if isinstance(texts, (str, Path)):
        return NumberedLines([texts], cutter, keys=keys, encoding=encoding)
    if not isinstance(texts, Iterable):
        raise InputError(f"found {type(texts).__name__}, expected a path, or an iterable of sentences")
    if isinstance(texts, (list, tuple)) and texts:
        if all(isinstance(text, Path) for text in texts):
            return NumberedLines(texts, cutter, keys=keys, encoding=encoding)
        if all(isinstance(text, str) and _is_file(text) for text in texts):
            raise InputError(
                f"{texts[0]!r} is a file, but a list of str is a list of texts: for files give a list of Path"
            )
    return NumberedItems(texts, cutter, keys=keys)


def _identified(raw: RawSentence) -> tuple[str, str]:
    """The id and the text of a line, or of a record of FASTA."""
    if raw.id is None:
        id_, tab, text = raw.text.partition("\t")
        if not tab or not id_.strip():
            raise InputError(
                f"{raw.file}:{raw.line} has no id: with --keys id a line is an id, a tab and a text; "
                "otherwise use --keys line"
            )
        return id_.strip(), text
    if not raw.id:
        raise InputError(f"{raw.file}:{raw.line} has no id: FASTA headers with a word have one; use --keys line")
    return raw.id, raw.text


def _note(known: KeySequence, key: str, place: str) -> None:
    try:
        known.add(key)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


def _opened(file: str) -> BinaryIO:
    path = Path(file)
    opener = OPENERS.get(path.suffix.lower())
    return opener(path) if opener else path.open("rb")


def _unpacked_bytes(files: Sequence[str]) -> list[float]:
    """The bytes of texts when they are unpacked: counted, or drawn from what was unpacked in a moment."""
    started = time.monotonic()
    packed, unpacked = 1, 1
    sizes: list[float] = []
    for file in files:
        size = Path(file).stat().st_size
        if Path(file).suffix.lower() not in OPENERS:
            sizes.append(size)
            continue
        read, is_whole = 0, False
        with _opened(file) as stream:
            while not is_whole and time.monotonic() - started < _COUNTING_SECONDS:
                block = stream.read(1 << 20)
                read += len(block)
                is_whole = not block
            unpacked += read
            packed += size if is_whole else os.lseek(stream.fileno(), 0, os.SEEK_CUR)
        sizes.append(read if is_whole else size * unpacked / packed)
    return sizes
