"""Files of text to a stream of raw sentences; never more than a paragraph in memory.

``.txt`` (or any name), ``.fasta`` and ``.fa``, each also as ``.gz``, ``.bz2``, ``.xz`` and ``.zst``;
files, globs, folders, and ``-`` for standard input. A blank line parts documents; so does the end
of a file, and of a FASTA record.
"""

from __future__ import annotations

import errno
import glob
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from lowtide.errors import InputError, MissingPathError
from lowtide.text.fasta import Record, is_fasta, read_records
from lowtide.text.gutenberg import Book
from lowtide.text.lines import OPENERS, STANDARD_INPUT, Line, read_lines
from lowtide.text.sentences import LineFinding, LineMeaning, find_line_meaning, split_sentences
from lowtide.text.tokenize import Sentence

log = logging.getLogger("lowtide")

Lines = Literal["auto", "sentence", "paragraph", "wrapped", "fasta"]

_SAMPLE_LINES = 2000
_MOST_NAMED = 5
"""Endings of files that are left out."""
_MAX_PARAGRAPH = 1 << 16
"""Characters of wrapped lines that are joined before the sentences in them are given out."""
_EXPECTED = "Expected a text file, a folder, a glob, or -"
_FASTA_SUFFIXES = frozenset({".fasta", ".fa"})
_TEXT_SUFFIXES = frozenset({".txt", ".text", *_FASTA_SUFFIXES, *OPENERS})


class RawSentence(NamedTuple):
    """A sentence before it is cut into tokens."""

    text: str
    starts_document: bool
    file: str
    line: int
    """Where it begins, counted from 1; in wrapped text, where its paragraph begins."""
    id: str | None = None
    """Of a FASTA record."""


def as_documents(
    sentences: Iterable[RawSentence], split: Callable[[str], Sentence], *, is_carried: bool, keeps_empty: bool = False
) -> Iterator[list[Sentence]]:
    """Sentences cut into tokens, as documents: from one start to the next, or each alone.

    Args:
        sentences: raw.
        split: what cuts.
        is_carried: whether a state is to be carried through a document; if not, every sentence is one.
        keeps_empty: whether sentences without a token stay, so that every line keeps its number.
    """
    document: list[Sentence] = []
    for sentence in sentences:
        if document and (sentence.starts_document or not is_carried):
            yield document
            document = []
        tokens = split(sentence.text)
        if tokens or keeps_empty:
            document.append(tokens)
    if document:
        yield document


def as_inputs(inputs: Sequence[str | Path] | str | Path) -> Sequence[str | Path]:
    """One file, or folder, is a list of one."""
    return [inputs] if isinstance(inputs, (str, Path)) else inputs


def find_files(inputs: Sequence[str | Path]) -> list[str]:
    """The files that paths, globs, folders and ``-`` name, each once, folders in order of name.

    A file that is named twice, in whatever spelling or by a link, is taken once.

    Raises:
        MissingPathError: if a path is not there, or a glob or a folder gives no text file.
    """
    found: dict[str, str] = {}
    for name in map(str, inputs):
        for file in _files_named(name):
            found.setdefault(file if file == STANDARD_INPUT else os.path.realpath(file), file)
    if not found:
        raise InputError("no text was named: give files, folders, globs, or - for standard input")
    return list(found.values())


def _files_named(name: str) -> list[str]:
    if name == STANDARD_INPUT or (_is_there(name) and not Path(name).is_dir()):
        return [name]
    if Path(name).is_dir():
        files = [str(f) for f in sorted(Path(name).rglob("*")) if f.suffix.lower() in _TEXT_SUFFIXES and f.is_file()]
        if not files:
            expected = " ".join(sorted(_TEXT_SUFFIXES))
            raise MissingPathError(f"the folder {name} holds no text file (expected {expected})")
        return files
    files = sorted(match for match in glob.glob(name, recursive=True) if Path(match).is_file())
    if not files:
        raise MissingPathError(f"{name} is not there. {_EXPECTED}")
    return files


def _is_there(name: str) -> bool:
    try:
        Path(name).stat()
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.EACCES):
            told = f"a name of {len(name):,} characters" if error.errno == errno.ENAMETOOLONG else name
            raise MissingPathError(f"{told} is no path that can be read: {error.strerror}. {_EXPECTED}") from None
        return False  # a glob, perhaps
    return True


class Corpus:
    """Text files as a stream of raw sentences.

    Args:
        inputs: files, globs, folders, ``-``; a single one may stand alone.
        encoding: how the bytes are to be read.
        lines: what a line is. ``auto`` looks at the first lines of every file.
    """

    def __init__(
        self, inputs: Sequence[str | Path] | str | Path, *, encoding: str = "utf-8", lines: Lines = "auto"
    ) -> None:
        inputs = as_inputs(inputs)
        self.files = find_files(inputs)
        self._folders = [name for name in map(str, inputs) if name != STANDARD_INPUT and Path(name).is_dir()]
        self._part_of: dict[str, int] = {}
        for number, name in enumerate(map(str, inputs)):
            for file in _files_named(name):
                self._part_of.setdefault(file, number)
        self.encoding = encoding
        self.lines = lines
        self.findings: dict[str, LineFinding] = {}
        """What the lines of every file read so far were taken for."""
        self.num_outside = 0
        """Characters of FASTA records read so far that no residue is written with."""
        self.num_left_out = 0
        """Lines read so far that are header or licence of a Project Gutenberg book, and no part of it."""

    def part_of(self, file: str) -> int:
        """Which of the inputs named a file first."""
        return self._part_of[file]

    @property
    def name(self) -> str:
        """For messages: the file, or how many there are."""
        return self.files[0] if len(self.files) == 1 else f"the text ({len(self.files):,} files)"

    @property
    def is_fasta(self) -> bool:
        """Whether what was read so far is FASTA."""
        return any(finding.meaning == "fasta" for finding in self.findings.values())

    def sentences(self) -> Iterator[RawSentence]:
        """All sentences, in order; of a Project Gutenberg book, those of the book.

        Raises:
            InputError: if a file is binary, or not in the encoding (with file and line); if some
                files are FASTA and some are not.
        """
        for file in self.files:
            lines, finding = self._look_at(file)
            if finding.meaning == "fasta":
                units: Iterator[_Unit] = (
                    ([r.sequence] if r.sequence else [], r.line) for r in self._records(file, lines)
                )
            else:
                units = _UNITS[finding.meaning](self._book(lines))
            starts_document = True
            for texts, number in units:
                if not texts:
                    starts_document = True
                for text in texts:
                    yield RawSentence(text, starts_document, file, number)
                    starts_document = finding.meaning == "fasta"

    def numbered(self) -> Iterator[RawSentence]:
        """What embedding numbers from 0: every line as it is, blank ones too, or every FASTA record."""
        for file in self.files:
            lines, finding = self._look_at(file)
            if finding.meaning == "fasta":
                for record in self._records(file, lines):
                    yield RawSentence(record.sequence, True, file, record.line, record.id)
                continue
            starts_document = True
            for line in lines:
                is_blank = not line.text.strip()
                yield RawSentence(line.text, starts_document or is_blank, file, line.number)
                starts_document = is_blank

    def size_bytes(self) -> int | None:
        """The bytes of all files on disk, compressed ones as they lie; None with standard input."""
        if STANDARD_INPUT in self.files:
            return None
        return sum(Path(file).stat().st_size for file in self.files)

    def describe(self) -> str:
        """What was found: ``3 files, wrapped at 70 columns``."""
        kinds: dict[LineMeaning, LineFinding] = {}
        for finding in self.findings.values():
            kinds.setdefault(finding.meaning, finding)
        words = {
            "sentence": "one sentence a line",
            "paragraph": "paragraphs, split into sentences",
            "wrapped": "wrapped lines, joined to sentences",
            "fasta": "FASTA, one record a sentence",
        }
        told = [
            f"wrapped at {finding.columns} columns, joined to sentences" if finding.columns else words[meaning]
            for meaning, finding in kinds.items()
        ]
        number = f"{len(self.files):,} file{'s' if len(self.files) != 1 else ''}"
        return ", ".join([number, *told])

    def log_repairs(self) -> None:
        """Say what was left out of the files read so far, or found in them and not expected."""
        for folder in self._folders:
            others = [f for f in Path(folder).rglob("*") if f.suffix.lower() not in _TEXT_SUFFIXES and f.is_file()]
            if others:
                endings = sorted({f.suffix.lower() or f.name for f in others})[:_MOST_NAMED]
                told = f"{len(others):,}", folder, ", ".join(endings)
                log.info("left out    %s files of %s, by their endings no text: %s", *told)
        if self.num_left_out:
            log.info("left out    %s lines of Project Gutenberg's headers and licences", f"{self.num_left_out:,}")
        if self.num_outside:
            log.info(
                "alphabet    %s characters are no residues (A-Z * -); each is a token of its own",
                f"{self.num_outside:,}",
            )

    def _look_at(self, file: str) -> tuple[Iterator[Line], LineFinding]:
        """The lines of a file, and what they mean."""
        lines = read_lines(file, self.encoding)
        if self.lines == "auto":
            sample = list(itertools.islice(lines, _SAMPLE_LINES))
            finding = _find_meaning(file, sample)
            lines = itertools.chain(sample, lines)
        else:
            finding = LineFinding(self.lines)
        if self.findings and self.is_fasta != (finding.meaning == "fasta"):
            found, expected = ("plain text", "FASTA") if self.is_fasta else ("FASTA", "plain text")
            raise InputError(f"{file} is {found}, the files before it are {expected}: give one kind at a time")
        self.findings[file] = finding
        return lines, finding

    def _book(self, lines: Iterator[Line]) -> Iterator[Line]:
        book = Book(lines)
        yield from book
        self.num_left_out += book.num_left_out

    def _records(self, file: str, lines: Iterator[Line]) -> Iterator[Record]:
        for record in read_records(lines, file):
            self.num_outside += record.num_outside
            yield record


def _find_meaning(file: str, sample: Sequence[Line]) -> LineFinding:
    named = {suffix.lower() for suffix in Path(file).suffixes[-2:]} - OPENERS.keys()
    if named & _FASTA_SUFFIXES or (sample and is_fasta(sample[0].text)):
        return LineFinding("fasta")
    return find_line_meaning([line.text for line in sample])


_Unit = tuple[list[str], int]
"""Sentences that stand together, and their line; none at all between two documents."""


def _each_line(lines: Iterator[Line]) -> Iterator[_Unit]:
    for line in lines:
        text = line.text.strip()
        yield [text] if text else [], line.number


def _each_paragraph(lines: Iterator[Line]) -> Iterator[_Unit]:
    for line in lines:
        yield split_sentences(line.text), line.number


def _each_wrapped(lines: Iterator[Line]) -> Iterator[_Unit]:
    for is_blank, run in itertools.groupby(lines, key=lambda line: not line.text.strip()):
        if is_blank:
            yield [], next(run).number
        else:
            yield from _each_stretch(run)


def _each_stretch(lines: Iterable[Line]) -> Iterator[_Unit]:
    """The sentences of a paragraph; one without an end, in stretches, the open sentence kept for the next."""
    pieces: list[str] = []
    size, most = 0, _MAX_PARAGRAPH
    first = 0
    for line in lines:
        first = first or line.number
        pieces.append(line.text.strip())
        size += len(line.text)
        if size > most:
            *whole, rest = split_sentences(_join(pieces))
            pieces, size = [rest], len(rest)
            most = max(_MAX_PARAGRAPH, 2 * size)  # a sentence that does not end is not looked through again and again
            if whole:
                yield whole, first
                first = line.number
    yield split_sentences(_join(pieces)), first


def _join(lines: Sequence[str]) -> str:
    """Join wrapped lines: with a space, but none between Chinese characters."""
    joined: list[str] = []
    for line in lines:
        if joined and not (_is_wide(joined[-1][-1]) and _is_wide(line[0])):
            joined.append(" ")
        joined.append(line)
    return "".join(joined)


def _is_wide(character: str) -> bool:
    return "\u2e80" <= character <= "\u9fff" or "\uff00" <= character <= "\uffef"


_UNITS: dict[LineMeaning, Callable[[Iterator[Line]], Iterator[_Unit]]] = {
    "sentence": _each_line,
    "paragraph": _each_paragraph,
    "wrapped": _each_wrapped,
}
