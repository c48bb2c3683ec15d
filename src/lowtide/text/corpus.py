"""Files of text to a stream of raw sentences; never more than a paragraph in memory.

``.txt`` (or any name), ``.gz``, ``.bz2``, ``.xz`` and ``.zst``; files, globs, folders, and ``-``
for standard input. A blank line parts documents; so does the end of a file.
"""

from __future__ import annotations

import bz2
import codecs
import errno
import glob
import gzip
import io
import itertools
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, cast

from lowtide.errors import InputError, LowtideError, MissingPathError, require
from lowtide.text.sentences import LineFinding, LineMeaning, find_line_meaning, split_sentences

Lines = Literal["auto", "sentence", "paragraph", "wrapped"]

STANDARD_INPUT = "-"
_SAMPLE_LINES = 2000
_EXPECTED = "Expected a text file, a folder, a glob, or -"


class RawSentence(NamedTuple):
    """A sentence before it is cut into tokens."""

    text: str
    starts_document: bool
    file: str
    line: int
    """Where it begins, counted from 1; in wrapped text, where its paragraph begins."""


class _Line(NamedTuple):
    text: str
    number: int


class _ZstdFile(io.RawIOBase):
    """A .zst file that is not trusted to be whole.

    The reader that zstandard brings ends in silence where a file is cut short.
    """

    def __init__(self, path: Path, zstandard: Any) -> None:
        self._zstandard = zstandard
        self._file = path.open("rb")
        self._frame: Any = None
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            raw = self._file.read(io.DEFAULT_BUFFER_SIZE)
            if not raw:
                if self._frame is not None:
                    raise EOFError("Compressed file ended before the end-of-stream marker was reached")
                return 0
            self._left = self._decompressed(raw)
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size

    def _decompressed(self, raw: bytes) -> bytes:
        text = b""
        while raw:
            if self._frame is None:
                # the window is 2 GiB at most, with --long=31
                self._frame = self._zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj()
            try:
                text += self._frame.decompress(raw)
            except self._zstandard.ZstdError as error:
                raise OSError(str(error)) from error
            raw = b""
            if self._frame.eof:
                raw, self._frame = self._frame.unused_data, None
        return text

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_zstd(path: Path) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_ZstdFile(path, require("zstandard", extra="zstd"))))


_OPENERS: dict[str, Callable[[Path], BinaryIO]] = {
    ".gz": lambda path: cast(BinaryIO, gzip.GzipFile(path)),
    ".bz2": lambda path: cast(BinaryIO, bz2.BZ2File(path)),
    ".xz": lambda path: cast(BinaryIO, lzma.LZMAFile(path)),
    ".zst": _open_zstd,
}
_TEXT_SUFFIXES = frozenset({".txt", ".text", *_OPENERS})


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
        inside = sorted(Path(name).rglob("*"))
        files = [str(f) for f in inside if f.suffix.lower() in _TEXT_SUFFIXES and f.is_file()]
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
        first = next(run)
        if is_blank:
            yield [], first.number
        else:
            yield split_sentences(_join([line.text.strip() for line in (first, *run)])), first.number


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
    try:
        "".encode(encoding)
    except LookupError:
        raise InputError(f"unknown encoding {encoding!r}: try utf-8, gb18030, cp1252, utf-16") from None
    codec = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    number = 0
    try:
        with io.TextIOWrapper(stream, encoding=codec) as wrapper:
            for number, text in enumerate(wrapper, start=1):
                if "\0" in text:
                    raise InputError(_not_text(name, number, encoding))
                yield _Line(text.rstrip("\n"), number)
    except UnicodeDecodeError as error:
        # the object is a block of the file, from within the first line that was not given out
        before = error.object[: error.start]
        number += 1 + _num_line_ends(before.decode(codec, errors="replace"))
        if b"\0" in error.object and not error.object.startswith(_UTF_16_MARKS):
            raise InputError(_not_text(name, number, encoding)) from None
        bad = error.object[error.start : error.start + 1].hex()
        likely = _likely_encoding(error.object)
        advice = f" It reads as {likely}: try --encoding {likely}." if likely else " Name it with --encoding."
        raise InputError(f"{name}:{number}: the byte 0x{bad} is not {encoding}.{advice}") from None
    except UnicodeError as error:
        raise InputError(f"{name} is not {encoding} ({error}). Name it with --encoding.") from None


def _not_text(name: str, number: int, encoding: str) -> str:
    return f"{name}:{number} holds a zero byte: it is no text file in {encoding}"


def _num_line_ends(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_COMMON_CHINESE = frozenset(
    "的一是不了在有人我他这中大来上国说们到个为以子和你地出道也时年得就那要下生会自着去之过家学没对"
)


def _likely_encoding(sample: bytes) -> str | None:
    """What a block of bytes could be; it may begin and end amid a character."""
    if sample.startswith(_UTF_16_MARKS):
        return "utf-16"
    # what is Russian, Korean, Big5 reads as rare Chinese characters
    chinese = [c for c in sample.decode("gb18030", errors="replace") if "\u4e00" <= c <= "\u9fff"]
    if sum(c in _COMMON_CHINESE for c in chinese) > 0.05 * len(chinese):
        return "gb18030"
    western = sample.decode("cp1252", errors="replace")
    num_marked = sum(not c.isascii() for c in western)
    return "cp1252" if "\ufffd" not in western and num_marked < 0.3 * len(western) else None
