"""Files of text to a stream of raw sentences; never more than a paragraph in memory.

``.txt`` (or any name), ``.gz``, ``.bz2``, ``.xz`` and ``.zst``; files, globs, folders, and ``-``
for standard input. A blank line parts documents; so does the end of a file.
"""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import itertools
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, cast

from lowtide.errors import InputError, LowtideError, MissingPathError, require
from lowtide.text.sentences import LineFinding, LineMeaning, find_line_meaning, split_sentences

Lines = Literal["auto", "sentence", "paragraph", "wrapped"]

STANDARD_INPUT = "-"
_SAMPLE_LINES = 2000
_LIKELY_ENCODINGS = ("gb18030", "cp1252")


class RawSentence(NamedTuple):
    """A sentence before it is cut into tokens."""

    text: str
    starts_document: bool
    file: str
    line: int
    """Where it begins, counted from 1."""


class _Line(NamedTuple):
    text: str
    number: int


def _open_zstd(path: Path) -> BinaryIO:
    zstandard = require("zstandard", extra="zstd")
    stream: BinaryIO = zstandard.open(path, "rb")
    return stream


_OPENERS: dict[str, Callable[[Path], BinaryIO]] = {
    ".gz": lambda path: cast(BinaryIO, gzip.GzipFile(path)),
    ".bz2": lambda path: cast(BinaryIO, bz2.BZ2File(path)),
    ".xz": lambda path: cast(BinaryIO, lzma.LZMAFile(path)),
    ".zst": _open_zstd,
}
_TEXT_SUFFIXES = frozenset({".txt", ".text", *_OPENERS})


def find_files(inputs: Sequence[str | Path]) -> list[str]:
    """The files that paths, globs, folders and ``-`` name, each once, folders in order of name.

    Raises:
        MissingPathError: if a path is not there, or a glob or a folder gives no text file.
    """
    found: dict[str, None] = {}
    for name in map(str, inputs):
        path = Path(name)
        if name == STANDARD_INPUT or path.is_file() or path.is_fifo() or path.is_char_device():
            files = [name]
        elif path.is_dir():
            inside = sorted(path.rglob("*"))
            files = [str(f) for f in inside if f.suffix.lower() in _TEXT_SUFFIXES and f.is_file()]
            if not files:
                expected = " ".join(sorted(_TEXT_SUFFIXES))
                raise MissingPathError(f"the folder {name} holds no text file (expected {expected})")
        else:
            files = sorted(match for match in glob.glob(name, recursive=True) if Path(match).is_file())
            if not files:
                raise MissingPathError(f"{name} is not there: expected a text file, a folder, a glob, or -")
        found.update(dict.fromkeys(files))
    if not found:
        raise InputError("no text was named: give files, folders, globs, or - for standard input")
    return list(found)


class Corpus:
    """Text files as a stream of raw sentences.

    Args:
        inputs: files, globs, folders, ``-``.
        encoding: how the bytes are to be read.
        lines: what a line is. ``auto`` looks at the first lines of every file.
    """

    def __init__(self, inputs: Sequence[str | Path], *, encoding: str = "utf-8", lines: Lines = "auto") -> None:
        self.files = find_files(inputs)
        self.encoding = encoding
        self.lines = lines
        self.findings: dict[str, LineFinding] = {}
        """What the lines of every file read so far were taken for."""

    def sentences(self) -> Iterator[RawSentence]:
        """All sentences, in order.

        Raises:
            InputError: if a file is binary, or not in the encoding; with file and line.
        """
        for file in self.files:
            yield from self._sentences_of(file)

    def file_lines(self) -> Iterator[str]:
        """Every line of every file as it is, blank ones too: what embedding numbers from 0."""
        for file in self.files:
            for line in _read_lines(file, self.encoding):
                yield line.text

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
        }
        told = [
            f"wrapped at {finding.columns} columns, joined to sentences" if finding.columns else words[meaning]
            for meaning, finding in kinds.items()
        ]
        number = f"{len(self.files):,} file{'s' if len(self.files) != 1 else ''}"
        return ", ".join([number, *told])

    def _sentences_of(self, file: str) -> Iterator[RawSentence]:
        lines = _read_lines(file, self.encoding)
        if self.lines == "auto":
            sample = list(itertools.islice(lines, _SAMPLE_LINES))
            finding = find_line_meaning([line.text for line in sample])
            lines = itertools.chain(sample, lines)
        else:
            finding = LineFinding(self.lines)
        self.findings[file] = finding
        starts_document = True
        for texts, number in _UNITS[finding.meaning](lines):
            if not texts:
                starts_document = True
            for text in texts:
                yield RawSentence(text, starts_document, file, number)
                starts_document = False


def _each_line(lines: Iterator[_Line]) -> Iterator[tuple[list[str], int]]:
    for line in lines:
        text = line.text.strip()
        yield [text] if text else [], line.number


def _each_paragraph(lines: Iterator[_Line]) -> Iterator[tuple[list[str], int]]:
    for line in lines:
        yield split_sentences(line.text), line.number


def _each_wrapped(lines: Iterator[_Line]) -> Iterator[tuple[list[str], int]]:
    for is_blank, run in itertools.groupby(lines, key=lambda line: not line.text.strip()):
        paragraph = list(run)
        if is_blank:
            yield [], paragraph[0].number
        else:
            yield split_sentences(_join([line.text.strip() for line in paragraph])), paragraph[0].number


def _join(lines: Sequence[str]) -> str:
    """Join wrapped lines: with a space, but none between Chinese characters."""
    text = ""
    for line in lines:
        needs_space = text and not (_is_wide(text[-1]) and _is_wide(line[0]))
        text += (" " if needs_space else "") + line
    return text


def _is_wide(character: str) -> bool:
    return "\u2e80" <= character <= "\u9fff" or "\uff00" <= character <= "\uffef"


_UNITS: dict[LineMeaning, Callable[[Iterator[_Line]], Iterator[tuple[list[str], int]]]] = {
    "sentence": _each_line,
    "paragraph": _each_paragraph,
    "wrapped": _each_wrapped,
}


def _read_lines(file: str, encoding: str) -> Iterator[_Line]:
    name = "standard input" if file == STANDARD_INPUT else file
    try:
        with _open_bytes(file) as stream:
            yield from _decode(stream, name, encoding)
    except LowtideError:
        raise
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise InputError(f"{name} cannot be read: {error}. Is it damaged?") from error


def _open_bytes(file: str) -> BinaryIO:
    if file == STANDARD_INPUT:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    path = Path(file)
    opener = _OPENERS.get(path.suffix.lower())
    return opener(path) if opener else path.open("rb")


def _decode(stream: BinaryIO, name: str, encoding: str) -> Iterator[_Line]:
    codec = "utf-8-sig" if encoding.lower().replace("-", "") == "utf8" else encoding
    try:
        "".encode(codec)
    except LookupError:
        raise InputError(f"unknown encoding {encoding!r}: try utf-8, gb18030, cp1252, utf-16") from None
    wrapper = io.TextIOWrapper(stream, encoding=codec)
    number = 0
    try:
        for number, text in enumerate(wrapper, start=1):
            if "\0" in text:
                raise InputError(f"{name}:{number} holds a zero byte: it is no text file in {encoding}")
            yield _Line(text.rstrip("\n"), number)
    except UnicodeDecodeError as error:
        bad = error.object[error.start : error.start + 1].hex()
        likely = _likely_encoding(error.object)
        advice = f" It reads as {likely}: try --encoding {likely}." if likely else " Name it with --encoding."
        raise InputError(f"{name}, near line {number + 1}: the byte 0x{bad} is not {encoding}.{advice}") from None


def _likely_encoding(sample: bytes) -> str | None:
    if sample[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    for encoding in _LIKELY_ENCODINGS:
        try:
            text = sample[: len(sample) // 2 * 2].decode(
                encoding, errors="strict" if encoding == "cp1252" else "ignore"
            )
        except UnicodeDecodeError:
            continue
        if encoding == "cp1252" or sum("\u4e00" <= c <= "\u9fff" for c in text) > len(text) * 0.2:
            return encoding
    return None
